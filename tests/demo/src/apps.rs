// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The processes that hold GPU memory.

use crate::plan::{App, Buffer, Place, SIZE};
use e2e::child::Child;
use e2e::sys::{Errno, Map};
use e2e::uapi::{BO_WB_MMAP, SYNC_FLUSH, SYNC_FLUSH_INVALIDATE};
use e2e::{Dev, Res};

/// What a process has.
struct Own {
    dev: Dev,
    buffers: Vec<(Buffer, u32, Map)>,
}

impl Own {
    /// Opens the device, creates two VMs and the buffers.
    fn new(app: &App) -> Result<Own, Errno> {
        let dev = Dev::open()?;
        let vms = [dev.vm()?, dev.vm()?];
        if vms != [1, 2] {
            return Err(e2e::sys::ENXIO);
        }
        let mut buffers = Vec::new();
        for b in app.buffers() {
            let exclusive = match b.place {
                Place::Private(vm) => vm,
                _ => 0,
            };
            let handle = dev.bo(SIZE, BO_WB_MMAP, exclusive)?;
            dev.label(handle, &format!("{}-{}", app.name, b.nr))?;
            for &vm in b.vms() {
                dev.map(vm, handle, 0, b.va(vm), SIZE)?;
            }
            let map = dev.mmap(handle, SIZE)?;
            buffers.push((b, handle, map));
        }
        Ok(Own { dev, buffers })
    }

    /// Writes what the CPU has to write.
    fn fill(&self) -> Result<(), Errno> {
        for (b, handle, map) in self.buffers.iter().filter(|(b, ..)| !b.by_gpu) {
            for i in 0..SIZE / 8 {
                map.set(i as usize, b.word(i));
            }
            self.dev.sync(*handle, SYNC_FLUSH, 0, SIZE)?;
        }
        Ok(())
    }

    /// Reads everything; how many bytes were right, or what was wrong.
    fn check(&self) -> Result<u64, String> {
        let mut good = 0;
        for (b, handle, map) in &self.buffers {
            self.dev
                .sync(*handle, SYNC_FLUSH_INVALIDATE, 0, SIZE)
                .map_err(|e| format!("BO_SYNC: {e}"))?;
            for i in 0..SIZE / 8 {
                let (got, want) = (map.get(i as usize), b.word(i));
                if got != want {
                    return Err(format!(
                        "buffer {} offset {:#x}: {got:#x}, want {want:#x}",
                        b.nr,
                        i * 8
                    ));
                }
            }
            good += SIZE;
        }
        Ok(good)
    }
}

/// Starts a process. It obeys `setup`, `fill`, `check` and `fd`.
pub fn start(app: &'static App) -> Res<Child> {
    Child::spawn(|end| {
        let name = std::ffi::CString::new(app.name).unwrap_or_default();
        // SAFETY: a valid string.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        let mut own: Option<Own> = None;
        end.serve(|cmd| {
            if cmd == "setup" {
                own = Some(Own::new(app).map_err(|e| e.to_string())?);
            }
            let own = own.as_ref().ok_or("not set up")?;
            match cmd {
                "fill" => own
                    .fill()
                    .map(|()| String::new())
                    .map_err(|e| e.to_string()),
                "check" => own.check().map(|n| n.to_string()),
                _ => Ok(own.dev.fd().to_string()),
            }
        });
    })
}
