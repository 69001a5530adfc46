// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tables set aside for operations that may not allocate.

use crate::kernel_ext::{bindings, task::fatal_signal_pending};
use core::ptr::NonNull;
use kernel::{prelude::*, sizes::SZ_4K};

/// Memory for tables, set aside for operations that may not allocate. Tables that an operation
/// frees come back into it.
///
/// # Invariants
///
/// `first` is the first of a chain of `len` pages from `kx_alloc_table()` that belong to us, each
/// with a pointer to the next one at its start.
#[derive(Default)]
pub(crate) struct TableReserve {
    first: Option<NonNull<Link>>,
    len: usize,
}

/// The start of a page that is not in use.
struct Link(Option<NonNull<Link>>);

// SAFETY: A page of memory belongs to no thread.
unsafe impl Send for TableReserve {}

impl TableReserve {
    /// Takes a table out, zeroed.
    pub(super) fn pop(&mut self) -> Option<NonNull<c_void>> {
        let table = self.first?;
        // INVARIANT: The chain goes on with the next one.
        // SAFETY: The page is ours, with a link at its start.
        self.first = unsafe { table.read() }.0;
        self.len -= 1;
        // SAFETY: A table has 4 KiB.
        unsafe { table.cast::<u8>().write_bytes(0, SZ_4K) };
        Some(table.cast())
    }

    /// Puts a table in.
    ///
    /// # Safety
    ///
    /// It came from `kx_alloc_table()` and is used no more.
    pub(super) unsafe fn push(&mut self, table: NonNull<c_void>) {
        let table = table.cast();
        // INVARIANT: The page is ours now, and the others follow.
        // SAFETY: A page has room for a link, and is aligned for it.
        unsafe { table.write(Link(self.first)) };
        self.first = Some(table);
        self.len += 1;
    }

    /// Frees all but `len` tables.
    pub(crate) fn trim(&mut self, len: usize) {
        while let Some(table) = self.first.filter(|_| self.len > len) {
            // INVARIANT: The chain goes on with the next one.
            // SAFETY: The page is ours, with a link at its start.
            self.first = unsafe { table.read() }.0;
            self.len -= 1;
            // SAFETY: It came from `kx_alloc_table()`.
            unsafe { bindings::kx_free_table(table.as_ptr().cast()) };
        }
    }

    /// How many tables there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Sees to it that there are at least `len`. It is userspace that says how many: they are
    /// charged to the task that asks, who need not be the one whose address space it is, and there
    /// may be too many of them. `ENOMEM`; `EINTR` when the task is being killed.
    pub(crate) fn fill(&mut self, len: usize) -> Result {
        while self.len < len {
            if fatal_signal_pending() {
                return Err(EINTR);
            }
            // SAFETY: Allocates a page.
            let table = NonNull::new(unsafe { bindings::kx_alloc_table() }).ok_or(ENOMEM)?;
            // SAFETY: The page is ours.
            unsafe { self.push(table) };
        }
        Ok(())
    }
}

impl Drop for TableReserve {
    fn drop(&mut self) {
        self.trim(0);
    }
}
