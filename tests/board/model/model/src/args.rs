// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command line of `mali-model`.

use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: mali-model --vfio SOCKET --ctl SOCKET [options]
  --vfio SOCKET        vfio-user socket for QEMU
  --ctl SOCKET         control socket
  --wait SECONDS       end when QEMU has not connected by then (60)
  --spin US            poll the socket that long before sleeping (0)
  --timestamp-hz N     rate of the TIMESTAMP register (62500000)
  --die-with-parent    end when the parent process ends
  --verbose            print events and violations to the standard error
  --trace              print every register access, too";

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// vfio-user socket.
    pub vfio: PathBuf,
    /// Control socket.
    pub ctl: PathBuf,
    /// Limit for QEMU to connect.
    pub wait: Duration,
    /// Time to poll the socket before sleeping.
    pub spin: Duration,
    /// Rate of the TIMESTAMP register.
    pub timestamp_hz: u64,
    /// End with the parent process.
    pub die_with_parent: bool,
    /// Print events and violations.
    pub verbose: bool,
    /// Print register accesses.
    pub trace: bool,
}

impl Args {
    /// Parses the words after the program's name.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut vfio, mut ctl) = (None, None);
        let mut args = Args {
            vfio: PathBuf::new(),
            ctl: PathBuf::new(),
            wait: Duration::from_secs(60),
            spin: Duration::ZERO,
            timestamp_hz: 62_500_000,
            die_with_parent: false,
            verbose: false,
            trace: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
            match word.as_str() {
                "--vfio" => vfio = Some(PathBuf::from(value()?)),
                "--ctl" => ctl = Some(PathBuf::from(value()?)),
                "--wait" => args.wait = Duration::from_secs(number(value()?)?),
                "--spin" => args.spin = Duration::from_micros(number(value()?)?),
                "--timestamp-hz" => args.timestamp_hz = number(value()?)?,
                "--die-with-parent" => args.die_with_parent = true,
                "--verbose" => args.verbose = true,
                "--trace" => (args.verbose, args.trace) = (true, true),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        args.vfio = vfio.ok_or("--vfio is missing")?;
        args.ctl = ctl.ok_or("--ctl is missing")?;
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn good_and_bad() {
        let args = parse("--vfio a --ctl b --spin 5 --trace").unwrap();
        assert_eq!(args.spin, Duration::from_micros(5));
        assert!(args.verbose && args.trace);
        assert!(parse("--vfio a").is_err());
        assert!(parse("--vfio a --ctl").is_err());
        assert!(parse("--vfio a --ctl b --spin x").is_err());
        assert!(parse("--vfio a --ctl b c").is_err());
    }
}
