// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What is told of a call.

use e2e::child::Child;
use e2e::reclaim::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;

/// A tracepoint for each call, with what was done.
pub fn tracepoints() -> Res {
    need()?;
    let trace = Trace::on()?;
    let c = target(M)?;
    let all = Amounts {
        buffers_done: 8,
        bytes_done: 8 * M,
        ..Amounts::default()
    };
    ok!(reclaim(c.pid));
    eq!(trace.last("mem_reclaim", c.pid)?, all);
    ok!(claim(c.pid));
    eq!(trace.last("mem_claim", c.pid)?, all);
    // Nothing left to do.
    ok!(claim(c.pid));
    eq!(trace.last("mem_claim", c.pid)?, Amounts::default());
    let swaps = NoSwap::new()?;
    err!(reclaim(c.pid), sys::ENOSPC);
    drop(swaps);
    let none = Amounts {
        result: -i64::from(sys::ENOSPC.0),
        ..Amounts::default()
    };
    eq!(trace.last("mem_reclaim", c.pid)?, none);
    Ok(())
}

/// Of two writers for the same process the second waits for what the first is doing: neither takes
/// pages from the other, and both are told that all is done.
pub fn two_writers() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("bo 0xc00000 2 0 1")?;
    for round in 0..3 {
        let pid = c.pid;
        let both: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(move || reclaim(pid)))
            .collect();
        for w in both {
            let r = w.join().map_err(|_| "thread".to_string())?;
            check!(r.is_ok(), "round {round}: {r:?}");
        }
        eq!(c.resident()?, 0);
        c.call("check 0")?;
    }
    Ok(())
}
