// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Supplies and clocks.

use kernel::{
    clk::{Clk, Hertz, OptionalClk},
    device::{self, property::NArgs, Bound},
    opp,
    prelude::*,
    regulator,
    str::CString,
    sync::aref::ARef,
};

/// The clocks of the GPU, running. They are stopped when this is dropped.
struct Clocks {
    core: Clk,
    stacks: OptionalClk,
    coregroup: OptionalClk,
}

impl Clocks {
    /// Gets and starts the clocks; only the core clock must be there.
    fn new(dev: &device::Device<Bound>) -> Result<Self> {
        // The core clock need not have a name.
        let core = Clk::get(dev, None)?;
        let stacks = OptionalClk::get(dev, Some(c"stacks"))?;
        let coregroup = OptionalClk::get(dev, Some(c"coregroup"))?;

        core.prepare_enable()?;
        if let Err(err) = stacks.prepare_enable() {
            core.disable_unprepare();
            return Err(err);
        }
        if let Err(err) = coregroup.prepare_enable() {
            stacks.disable_unprepare();
            core.disable_unprepare();
            return Err(err);
        }

        Ok(Self {
            core,
            stacks,
            coregroup,
        })
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        self.coregroup.disable_unprepare();
        self.stacks.disable_unprepare();
        self.core.disable_unprepare();
    }
}

/// The OPP core changes clock and supply by itself.
#[derive(Default)]
struct OppOps;

#[vtable]
impl opp::ConfigOps for OppOps {}

/// Whether the device tree names more than one power domain.
fn has_several_domains(dev: &device::Device) -> bool {
    let cells = NArgs::Prop(c"#power-domain-cells");

    dev.fwnode().is_some_and(|node| {
        node.property_get_reference_args(c"power-domains", cells, 1)
            .is_ok()
    })
}

/// Everything that gives power to the GPU. It is switched off when this is dropped.
///
/// Fields are dropped in order.
pub(crate) struct Power {
    clocks: Clocks,
    /// The operating points; the one in use holds the supply `mali`.
    _table: opp::Table,
    /// `None` when the power domain takes care, or there is no such supply.
    _supply: Option<opp::ConfigToken>,
    max_freq: Hertz,
}

impl Power {
    /// Switches the GPU on, at the operating point that fits the current clock. `EOPNOTSUPP` when
    /// it is in several power domains.
    pub(crate) fn new(dev: &device::Device<Bound>) -> Result<Self> {
        // The core attaches a single one only. Without power a read of a register may be an abort.
        if has_several_domains(dev) {
            dev_err!(dev, "Several power domains are not supported\n");
            return Err(EOPNOTSUPP);
        }

        let clocks = Clocks::new(dev)?;
        let (table, supply) = Self::operating_points(dev)?;

        // The OPP core knows one supply only; the other is coupled to it, but must be switched on.
        match regulator::devm_enable_optional(dev, c"sram") {
            Err(err) if err != ENODEV => return Err(err),
            _ => (),
        }

        let rate = clocks.core.rate();
        let point = table
            .opp_from_freq(rate, None, None, opp::SearchType::Ceil)
            .or_else(|_| table.opp_from_freq(rate, None, None, opp::SearchType::Floor))?;
        table.set_opp(&point)?;

        let max_freq = table
            .opp_from_freq(Hertz(c_ulong::MAX), None, None, opp::SearchType::Floor)?
            .freq(None);

        Ok(Self {
            clocks,
            _table: table,
            _supply: supply,
            max_freq,
        })
    }

    /// Finds the table that the power domain may have made, or else makes one from the device
    /// tree, which must have it.
    fn operating_points(
        dev: &device::Device<Bound>,
    ) -> Result<(opp::Table, Option<opp::ConfigToken>)> {
        if let Ok(table) = opp::Table::from_dev(dev) {
            return Ok((table, None));
        }

        let mut names = KVec::new();
        names.push(CString::try_from_fmt(fmt!("mali"))?, GFP_KERNEL)?;

        let supply = match opp::Config::<OppOps>::new()
            .set_regulator_names(names)?
            .set(dev)
        {
            Ok(token) => Some(token),
            Err(err) if err == ENODEV => None,
            Err(err) => return Err(err),
        };

        let dev: &device::Device = dev;
        let table = opp::Table::from_of(&ARef::from(dev), 0)?;

        Ok((table, supply))
    }

    /// The current rate of the core clock.
    pub(crate) fn current_freq(&self) -> Hertz {
        self.clocks.core.rate()
    }

    /// The rate of the fastest operating point.
    pub(crate) fn max_freq(&self) -> Hertz {
        self.max_freq
    }
}
