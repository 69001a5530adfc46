// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The files of the kernel that are read and written, below a root that tests may choose.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where cgroups are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Where the devices of both panthor drivers are.
const DRIVER: &str = "sys/bus/platform/drivers/panthor";

/// The root of `/proc` and `/sys`.
pub struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self::below("/")
    }
}

impl System {
    /// Files below this folder.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        System { root: root.into() }
    }

    /// The place of a file whose name begins with a slash.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
    }

    /// Reads a file of the kernel's.
    pub fn read(&self, name: &str) -> io::Result<String> {
        // Names of processes may be of any bytes.
        fs::read(self.path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes to a file of the kernel's, in one call.
    pub fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes())
    }

    /// Names of what is in a folder, sorted; none if it cannot be read.
    pub fn entries(&self, name: &str) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.path(name))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();

        names.sort();
        Ok(names)
    }

    /// The folders of the GPUs that a panthor driver has bound.
    pub fn devices(&self) -> Vec<Device> {
        self.entries(DRIVER)
            .unwrap_or_default()
            .into_iter()
            .map(|name| Device {
                folder: self.root.join(DRIVER).join(&name),
                name,
            })
            // Others are attributes of the driver: bind, unbind, the link to its module.
            .filter(|device| device.folder.join("driver").exists())
            .collect()
    }
}

/// A GPU.
pub struct Device {
    /// Its name on the platform bus.
    pub name: String,
    /// Its folder in sysfs.
    pub folder: PathBuf,
}

/// What `mem_reclaim` does, see the ABI document.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The memory is on swap when the write returns.
    Swap,
    /// The memory is the kernel's to swap out.
    Evict,
}

impl Device {
    /// Its mode, if its driver is the one in Rust.
    pub fn mode(&self) -> Option<Mode> {
        match fs::read_to_string(self.folder.join("mem_reclaim_mode"))
            .ok()?
            .trim()
        {
            "swap" => Some(Mode::Swap),
            "evict" => Some(Mode::Evict),
            _ => None,
        }
    }
}

/// Folders for tests that look like the kernel's.
#[cfg(test)]
pub mod fake {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A root of its own, removed at last.
    pub struct Fake {
        /// For the functions to be tested.
        pub system: System,
        root: PathBuf,
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    impl Fake {
        /// With one GPU, whose driver says `mode`.
        pub fn new(mode: &str) -> Fake {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let root = std::env::temp_dir().join(format!(
                "gpumem-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            ));
            let fake = Fake {
                system: System::below(&root),
                root,
            };

            fake.put("/proc/self/cgroup", "0::/\n");
            for (file, text) in [
                ("fb000000.gpu/driver", ""),
                ("fb000000.gpu/mem_reclaim", ""),
                ("fb000000.gpu/mem_claim", ""),
                ("fb000000.gpu/mem_reclaim_mode", mode),
                ("bind", ""),
            ] {
                fake.put(&format!("/{DRIVER}/{file}"), text);
            }
            fake
        }

        /// A file with this text.
        pub fn put(&self, name: &str, text: &str) {
            let path = self.system.path(name);

            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A process with files of the GPU: `(client, total, resident)` in KiB.
        pub fn process(&self, tgid: u32, cgroup: &str, clients: &[(u32, u64, u64)]) {
            self.put(&format!("/proc/{tgid}/comm"), &format!("app{tgid}\n"));
            self.put(&format!("/proc/{tgid}/cgroup"), &format!("0::{cgroup}\n"));
            self.put(&format!("/proc/{tgid}/fdinfo/0"), "pos:\t0\nflags:\t02\n");
            for (fd, (client, total, resident)) in clients.iter().enumerate() {
                self.put(
                    &format!("/proc/{tgid}/fdinfo/{}", fd + 3),
                    &format!(
                        "pos:\t0\ndrm-driver:\tpanthor\ndrm-client-id:\t{client}\n\
                         drm-total-memory:\t{total} KiB\ndrm-resident-memory:\t{resident} KiB\n"
                    ),
                );
            }
        }

        /// What was written to a file.
        pub fn written(&self, name: &str) -> String {
            self.system.read(name).unwrap()
        }
    }
}
