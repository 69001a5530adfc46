// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The command line.

use std::time::Duration;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: gpumem [--json] list
       gpumem [--json] watch [SECONDS [COUNT]]
       gpumem [--json] reclaim TGID... | --cgroup CGROUP
       gpumem [--json] claim TGID... | --cgroup CGROUP";

/// What is to be done about GPU memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Out of memory.
    Reclaim,
    /// Back into it.
    Claim,
}

/// About whose.
#[derive(Debug, Eq, PartialEq)]
pub enum Target {
    /// Processes, by TGID.
    Processes(Vec<u32>),
    /// All processes in a cgroup and those below it: the path below the root of cgroups, with a slash
    /// at its beginning.
    Cgroup(String),
}

/// A command of the program.
#[derive(Debug, Eq, PartialEq)]
pub enum Command {
    /// A table of the processes with GPU memory.
    List,
    /// The table again and again.
    Watch {
        /// The time between two.
        every: Duration,
        /// How many; without end if there is no number.
        count: Option<u32>,
    },
    /// Memory of processes goes or comes.
    Act {
        /// Which of the two.
        verb: Verb,
        /// Of which processes.
        target: Target,
    },
    /// How the program is called.
    Help,
}

/// The whole command line.
#[derive(Debug, Eq, PartialEq)]
pub struct Args {
    /// What to do.
    pub command: Command,
    /// Results as JSON.
    pub json: bool,
}

/// Takes a command line without the program's name apart.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut json = false;
    let mut help = false;
    let mut cgroup = None;
    let mut words = Vec::new();
    let mut args = args;

    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "--help" | "-h" => help = true,
            "--cgroup" => cgroup = Some(args.next().ok_or("--cgroup needs the path of a cgroup")?),
            _ if arg.starts_with("--cgroup=") => cgroup = arg.split_once('=').map(|a| a.1.into()),
            _ if arg.starts_with('-') => return Err(format!("there is no option {arg}")),
            _ => words.push(arg),
        }
    }
    if help {
        return Ok(Args {
            command: Command::Help,
            json,
        });
    }

    let (first, rest) = words.split_first().ok_or("there is no command")?;
    let verb = match first.as_str() {
        "reclaim" => Some(Verb::Reclaim),
        "claim" => Some(Verb::Claim),
        _ => None,
    };
    if cgroup.is_some() && verb.is_none() {
        return Err("--cgroup is for reclaim and claim".into());
    }
    let command = match (first.as_str(), verb) {
        (_, Some(verb)) => Command::Act {
            verb,
            target: target(rest, cgroup)?,
        },
        ("list", _) if rest.is_empty() => Command::List,
        ("watch", _) => watch(rest)?,
        ("list", _) => return Err("list takes no further words".into()),
        ("help", _) => Command::Help,
        (other, _) => return Err(format!("there is no command {other}")),
    };

    Ok(Args { command, json })
}

fn target(words: &[String], cgroup: Option<String>) -> Result<Target, String> {
    match (words, cgroup) {
        ([], Some(path)) => Ok(Target::Cgroup(below_root(&path)?)),
        ([], None) => Err("whose memory? Give a TGID or --cgroup".into()),
        (_, Some(_)) => Err("give either TGIDs or --cgroup".into()),
        (words, None) => words
            .iter()
            .map(|word| match word.parse() {
                Ok(tgid) if tgid != 0 => Ok(tgid),
                _ => Err(format!("{word} is not a TGID")),
            })
            .collect::<Result<_, _>>()
            .map(Target::Processes),
    }
}

/// A cgroup may be given as in `/proc/PID/cgroup`, or as the path of its folder.
fn below_root(path: &str) -> Result<String, String> {
    let path = path.strip_prefix(crate::system::CGROUPS).unwrap_or(path);
    let path = path.trim_matches('/');

    if path.split('/').any(|part| part == "..") {
        return Err("the path of a cgroup has no ..".into());
    }
    Ok(format!("/{path}"))
}

fn watch(words: &[String]) -> Result<Command, String> {
    let (every, count) = match words {
        [] => ("1", None),
        [every] => (every.as_str(), None),
        [every, count] => (every.as_str(), Some(count)),
        _ => return Err("watch takes two numbers at most".into()),
    };
    let every = every
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(format!("{every} is not a number of seconds"))?;
    let count = count
        .map(|count| {
            count
                .parse()
                .map_err(|_| format!("{count} is not a number"))
        })
        .transpose()?;

    Ok(Command::Watch { every, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(str::to_string))
    }

    fn command(line: &str) -> Command {
        parsed(line).unwrap().command
    }

    #[test]
    fn commands() {
        assert_eq!(command("list"), Command::List);
        assert!(parsed("list --json").unwrap().json);
        assert_eq!(
            command("watch 0.5 3"),
            Command::Watch {
                every: Duration::from_millis(500),
                count: Some(3)
            }
        );
        assert_eq!(
            command("reclaim 12 13"),
            Command::Act {
                verb: Verb::Reclaim,
                target: Target::Processes(vec![12, 13])
            }
        );
        assert_eq!(command("reclaim --help"), Command::Help);
    }

    #[test]
    fn cgroups_by_either_name() {
        for name in ["/app.slice/x", "app.slice/x/", "/sys/fs/cgroup/app.slice/x"] {
            assert_eq!(
                command(&format!("claim --cgroup {name}")),
                Command::Act {
                    verb: Verb::Claim,
                    target: Target::Cgroup("/app.slice/x".into())
                }
            );
        }
        assert_eq!(
            command("claim --cgroup=/"),
            Command::Act {
                verb: Verb::Claim,
                target: Target::Cgroup("/".into())
            }
        );
    }

    #[test]
    fn refused() {
        for line in [
            "",
            "lists",
            "list 1",
            "list --cgroup /",
            "reclaim",
            "reclaim 0",
            "reclaim -1",
            "reclaim x",
            "reclaim 99999999999",
            "reclaim 1 --cgroup /",
            "claim --cgroup",
            "claim --cgroup a/../b",
            "watch x",
            "watch -- 1",
            "watch 1 x",
            "watch 1 2 3",
            "--jsonx list",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
