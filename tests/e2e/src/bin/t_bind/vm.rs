// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A VM whose mappings can be looked at.

use e2e::debugfs::{GpuVa, VmResident};
use e2e::model::{Model, Translation};
use e2e::sys::*;
use e2e::*;

/// A VM with a marker mapping that finds it again in `gpuvas`.
pub struct Vm {
    pub d: Dev,
    pub id: u32,
    marker: u64,
}

impl Vm {
    pub fn new() -> Res<Vm> {
        let d = Dev::open()?;
        let id = d.vm()?;
        let marker = (1 << 46) + (getpid() as u64) * PAGE;
        let bo = d.bo(PAGE, 0, 0)?;
        d.map(id, bo, 0, marker, PAGE)?;
        d.close(bo)?;
        Ok(Vm { d, id, marker })
    }

    pub fn bind(&self, op: Op) -> Result<()> {
        self.d.bind1(self.id, op)
    }

    pub fn vas(&self) -> Res<Vec<GpuVa>> {
        debugfs::vas_of(self.marker)
    }

    /// (start, size, offset) of all mappings.
    pub fn list(&self) -> Res<Vec<(u64, u64, u64)>> {
        Ok(self
            .vas()?
            .iter()
            .map(|a| (a.start, a.range, a.offset))
            .collect())
    }

    /// What the model finds by the tables, if it can be asked.
    pub fn walk(&self) -> Res<Option<Walk>> {
        let Ok(r) = VmResident::need() else {
            return Ok(None);
        };
        let Ok(model) = Model::open() else {
            return Ok(None);
        };
        let root = r.get(getpid(), self.id)?.root;
        Ok(if root == 0 {
            None
        } else {
            Some(Walk { model, root })
        })
    }

    /// The model's walk agrees with a list of mapped pages and one of holes.
    pub fn holes(&self, mapped: &[u64], holes: &[u64]) -> Res {
        let Some(mut w) = self.walk()? else {
            return Ok(());
        };
        for va in mapped {
            let t = w.at(*va)?;
            check!(t.pa().is_some(), "{va:#x}: {t:?}");
        }
        for va in holes {
            let t = w.at(*va)?;
            check!(t.pa().is_none(), "{va:#x}: {t:?}");
        }
        Ok(())
    }
}

pub struct Walk {
    pub model: Model,
    pub root: u64,
}

impl Walk {
    pub fn at(&mut self, va: u64) -> Res<Translation> {
        self.model.root(self.root, va, "r")
    }
}
