// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-model`: waits for QEMU, serves it, ends when it goes.

#![forbid(unsafe_code)]

use mali_model::args::{Args, USAGE};
use mali_model::clock::Clock;
use mali_model::ctl;
use mali_model::device::Gpu;
use mali_model::exec::Runner;
use mali_model::identity::Identity;
use mali_model::mcu::Mcu;
use mali_model::shared::Shared;
use mali_model::vfio::irqs::Vectors;
use mali_model::vfio::server::Server;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A listening socket whose name goes with it.
struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens. A socket that an earlier run left behind is replaced, nothing else.
    fn bind(path: &Path) -> io::Result<Self> {
        if let Ok(meta) = std::fs::symlink_metadata(path) {
            if meta.file_type().is_socket() && UnixStream::connect(path).is_err() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self {
            listener: UnixListener::bind(path)?,
            path: path.to_path_buf(),
        })
    }

    /// Takes one connection.
    fn accept(&self, limit: Duration) -> io::Result<UnixStream> {
        let timeout = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody connected"));
        }
        Ok(self.listener.accept()?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(f)
        .map(drop)
}

fn run(args: &Args) -> io::Result<()> {
    if args.die_with_parent {
        let term = rustix::process::Signal::TERM;
        rustix::process::set_parent_process_death_signal(Some(term))?;
    }
    let named = |path: &Path| {
        Listener::bind(path).map_err(|e| io::Error::new(e.kind(), format!("{path:?}: {e}")))
    };
    let vfio = named(&args.vfio)?;
    let ctl = named(&args.ctl)?;
    let ctl_listener = ctl.listener.try_clone()?;

    let vectors = Vectors::default();
    let identity = Identity {
        timestamp_hz: args.timestamp_hz,
        ..Identity::default()
    };
    let sink = Box::new(vectors.clone());
    let mut gpu = Gpu::new(identity, args.timing, Clock::host(), sink);
    gpu.mcu = Mcu::new(args.layout, args.seed);
    gpu.env.tiler_bytes = args.tiler_bytes;
    gpu.env.verbose = args.verbose;
    gpu.env.violations.verbose = args.verbose;
    let shared = Shared::new(gpu);

    let mcu = Arc::clone(&shared);
    spawn("mcu", move || mcu.run_mcu())?;
    for number in 0..args.threads {
        let streams = Arc::clone(&shared);
        let runner = Runner::new(number, args.seed);
        spawn("streams", move || streams.run_streams(runner))?;
    }
    let inspected = Arc::clone(&shared);
    spawn("ctl-listen", move || ctl::listen(&inspected, &ctl_listener))?;

    let stream = vfio.accept(args.wait)?;
    drop(vfio);
    Server::new(stream, shared, vectors, args.spin, args.trace).run()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|w| w == "--help" || w == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(text) => {
            eprintln!("mali-model: {text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A thread that dies must take the device with it: QEMU then sees the connection close.
    std::panic::set_hook(Box::new(|info| {
        eprintln!("mali-model: {info}");
        std::process::abort();
    }));
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("mali-model: {e}");
            ExitCode::FAILURE
        }
    }
}
