// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What has to hold, and whether it did.

use e2e::sys::say;

/// The list of checks.
#[derive(Default)]
pub struct Checks(Vec<(bool, String)>);

impl Checks {
    /// Adds one.
    pub fn add(&mut self, ok: bool, what: impl Into<String>) {
        self.0.push((ok, what.into()));
    }

    /// Adds one from a result; the error is shown.
    pub fn result<E: std::fmt::Display>(&mut self, r: Result<(), E>, what: &str) {
        match r {
            Ok(()) => self.add(true, what),
            Err(e) => self.add(false, format!("{what}: {e}")),
        }
    }

    /// Prints all of them and the verdict; whether all held.
    pub fn verdict(&self) -> bool {
        say("\nChecks");
        for (ok, what) in &self.0 {
            say(&format!(
                "  {:<6}  {what}",
                if *ok { "ok" } else { "FAILED" }
            ));
        }
        let bad = self.0.iter().filter(|(ok, _)| !ok).count();
        let n = self.0.len();
        if bad == 0 {
            say(&format!("\nVerdict: all {n} checks held."));
        } else {
            say(&format!("\nVerdict: {bad} of {n} checks FAILED."));
        }
        bad == 0
    }
}
