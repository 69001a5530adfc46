// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What is told of a call.

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
    Ok(())
}
