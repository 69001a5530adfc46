// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The debugfs file `vm_resident`, which keeps VMs in hardware slots.
//!
//! Jobs do that once there are any. Until then this is how the GPU's view of a VM can be tested.

use super::{slots::SeatState, Vm};
use crate::{kernel_ext::pid::Pid, PanthorDevice};
use kernel::{prelude::*, seq_file::SeqFile, seq_print};

/// Who keeps a VM in its hardware slot.
pub(super) enum Residency {
    /// Nobody: it is there when the GPU needs it.
    OnDemand,
    /// The debugfs file.
    Held,
}

impl Vm {
    /// Keeps the VM in a slot, or stops to do so.
    fn set_held(&self, held: bool) -> Result {
        let mut residency = self.residency.lock();
        match (&*residency, held) {
            (Residency::OnDemand, true) => {
                self.activate()?;
                *residency = Residency::Held;
            }
            (Residency::Held, false) => {
                self.deactivate();
                *residency = Residency::OnDemand;
            }
            _ => (),
        }
        Ok(())
    }

    /// Where the VM is in the hardware.
    fn seat_state(&self) -> SeatState {
        self.space().dev().mmu.slots.state(&self.space().seat)
    }

    /// The physical address of the root table, if there is one.
    fn root(&self) -> Option<u64> {
        self.space().lock().state().any().map(|table| table.root())
    }
}

/// Writes where each VM is: `tgid id as=SLOT|- active=USERS root=0xADDRESS`.
pub(crate) fn show_resident(dev: &PanthorDevice, m: &SeqFile) -> Result {
    for (tgid, file) in dev.all_files()? {
        for (id, vm) in file.vms.snapshot()? {
            let root = vm.root().unwrap_or(0);
            let (slot, users) = match vm.seat_state() {
                SeatState::NoSlot => (None, 0),
                SeatState::Idle(slot) | SeatState::Lost(slot) => (Some(slot), 0),
                SeatState::Active(slot, users) => (Some(slot), users),
            };
            seq_print!(m, "{tgid} {id} as=");
            match slot {
                Some(slot) => seq_print!(m, "{slot}"),
                None => seq_print!(m, "-"),
            }
            seq_print!(m, " active={users} root=0x{root:x}\n");
        }
    }
    Ok(())
}

/// Keeps a VM in a hardware slot, or stops to do so: `TGID ID on` or `TGID ID off`.
pub(crate) fn set_resident(dev: &PanthorDevice, text: &str) -> Result {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().ok_or(EINVAL);
    let tgid = next()?.parse::<i32>().map_err(|_| EINVAL)?;
    let id = next()?.parse::<u32>().map_err(|_| EINVAL)?;
    let held = match next()? {
        "on" => true,
        "off" => false,
        _ => return Err(EINVAL),
    };
    if words.next().is_some() {
        return Err(EINVAL);
    }

    // A process may have several files, each with ids of its own; the first one that fits counts.
    let pid = Pid::find_vpid(tgid).ok_or(ESRCH)?;
    let mut found = Err(ESRCH);
    for file in dev.files_of(&pid)? {
        found = Err(ENOENT);
        if let Ok(vm) = file.vms.get(id) {
            let Some(_enter) = dev.enter() else {
                return Err(ENODEV);
            };
            return vm.set_held(held);
        }
    }
    found
}
