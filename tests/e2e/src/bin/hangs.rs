// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Hangs, with a helper that holds the device and hears nothing: what the runner of the tests must
//! be able to end. It is not one of them.

use e2e::child::Child;
use e2e::*;

fn hangs() -> Res {
    let g = cgroup::Cgroup::need("e2e-hangs")?;
    let mut c = Child::spawn(|e| {
        // SAFETY: no memory involved.
        unsafe { libc::setsid() };
        let dev = Dev::open();
        let said = dev.as_ref().map(|_| "open".into());
        e.answer(&said.map_err(|e| e.to_string()));
        loop {
            std::thread::park();
        }
    })?;
    let got = c.recv(std::time::Duration::from_secs(10))?;
    check!(got == Ok("open".into()), "{got:?}");
    ok!(g.add(c.pid));
    loop {
        std::thread::park();
    }
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 100_000; hangs])
}
