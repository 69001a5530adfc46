// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the memory path.
