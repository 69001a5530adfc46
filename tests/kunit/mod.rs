// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! KUnit suites, one file for a part of a room. They need no GPU. They run when the module is loaded,
//! or those that the parameters of the `kunit` module ask for.

mod blocks;
mod layer;
mod lock_region;
mod pool;
mod pool_race;
mod query;
mod reclaim;
mod regs;
mod slot_table;
mod sysfs;
mod tables;
mod uaccess;
mod users;
mod vm;
