// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Structures in user memory that grow with the version of an interface.
//!
//! The user and the kernel may know different versions of a structure, and each tells its size:
//! what one does not know reads as zero, and must be zero where the other wants it otherwise.
//!
//! C header: `include/linux/uaccess.h`

use super::bindings;
use core::mem::size_of;
use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};
use zerocopy::Immutable;

/// Plain data, as it is exchanged with user space: no padding, no pointers, no interior mutability,
/// and every bit pattern is a valid value.
///
/// Those of the uAPI are in [`super::uapi`].
pub(crate) trait Pod: FromBytes + IntoBytes + Immutable + Copy + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> Pod for T {}

/// A structure of which there may be several versions.
pub(crate) trait Versioned: Pod {
    /// The size of the first version.
    const MIN_SIZE: usize;
}

/// Memory that structures are exchanged in. All methods fail with `EFAULT` where there is none.
pub(crate) trait Memory {
    /// Fills `out` from the address `from`.
    fn read(&self, from: u64, out: &mut [u8]) -> Result;
    /// Whether `len` bytes at `from` are zero.
    fn is_zero(&self, from: u64, len: usize) -> Result<bool>;
    /// Copies `data` to the address `to`.
    fn write(&self, to: u64, data: &[u8]) -> Result;
    /// Writes `len` zeros to the address `to`.
    fn clear(&self, to: u64, len: usize) -> Result;
}

/// The memory of the current process.
pub(crate) struct UserMemory;

impl UserMemory {
    fn ptr(addr: u64) -> Result<UserPtr> {
        Ok(UserPtr::from_addr(
            usize::try_from(addr).map_err(|_| EFAULT)?,
        ))
    }
}

impl Memory for UserMemory {
    fn read(&self, from: u64, out: &mut [u8]) -> Result {
        UserSlice::new(Self::ptr(from)?, out.len())
            .reader()
            .read_slice(out)
    }

    fn is_zero(&self, from: u64, len: usize) -> Result<bool> {
        // SAFETY: The function takes any user address.
        match unsafe { bindings::check_zeroed_user(Self::ptr(from)?.as_const_ptr(), len) } {
            0 => Ok(false),
            err if err < 0 => Err(Error::from_errno(err)),
            _ => Ok(true),
        }
    }

    fn write(&self, to: u64, data: &[u8]) -> Result {
        UserSlice::new(Self::ptr(to)?, data.len())
            .writer()
            .write_slice(data)
    }

    fn clear(&self, to: u64, len: usize) -> Result {
        // SAFETY: The function takes any user address.
        match unsafe { bindings::kx_clear_user(Self::ptr(to)?.as_mut_ptr(), len) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }
}

/// Reads a structure of which the other side knows `size` bytes.
///
/// `E2BIG` if it uses a part that we do not know.
pub(crate) fn read_struct_from<T: Pod>(mem: &impl Memory, from: u64, size: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    let known = size.min(size_of::<T>());

    if let Some(rest) = size.checked_sub(known).filter(|rest| *rest != 0) {
        let from = from.checked_add(known as u64).ok_or(EFAULT)?;

        if !mem.is_zero(from, rest)? {
            return Err(E2BIG);
        }
    }

    let bytes = value.as_mut_bytes().get_mut(..known).ok_or(EINVAL)?;
    mem.read(from, bytes)?;
    Ok(value)
}

/// Writes a structure of which the other side knows `size` bytes; it finds zeros in what we do not
/// know.
///
/// `EINVAL` if it knows less than the first version.
pub(crate) fn write_struct_to<T: Versioned>(
    mem: &impl Memory,
    to: u64,
    size: usize,
    value: &T,
) -> Result {
    if size < T::MIN_SIZE {
        return Err(EINVAL);
    }

    let known = size.min(size_of::<T>());
    mem.write(to, value.as_bytes().get(..known).ok_or(EINVAL)?)?;

    match size.checked_sub(known) {
        None | Some(0) => Ok(()),
        Some(rest) => mem.clear(to.checked_add(known as u64).ok_or(EFAULT)?, rest),
    }
}

/// So many structures are kept without allocating memory for them.
const FEW: usize = 2;

/// An array of structures that was read.
pub(crate) enum Array<T: Pod> {
    /// The first ones of these.
    Few([T; FEW], usize),
    Many(KVVec<T>),
}

impl<T: Pod> core::ops::Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Few(values, len) => values.get(..*len).unwrap_or(&[]),
            Self::Many(values) => values,
        }
    }
}

/// Where an array of structures is.
#[derive(Clone, Copy)]
pub(crate) struct ArrayAt {
    /// The address of the first one.
    pub(crate) addr: u64,
    /// How many bytes the other side knows of each, which is how far they are apart.
    pub(crate) stride: u32,
    /// How many there are.
    pub(crate) count: u32,
}

/// Reads an array of structures.
///
/// `EINVAL` if the other side knows less than the first version of the structure, `E2BIG` if it
/// uses a part that we do not know.
pub(crate) fn read_array_from<T: Versioned>(mem: &impl Memory, array: ArrayAt) -> Result<Array<T>> {
    if array.count == 0 {
        return Ok(Array::Few([T::new_zeroed(); FEW], 0));
    }

    // CAST: From 32 bits, which an address has at least.
    let (stride, count) = (array.stride as usize, array.count as usize);
    if stride < T::MIN_SIZE {
        return Err(EINVAL);
    }

    let at = |i: usize| {
        array
            .addr
            .wrapping_add((i as u64).wrapping_mul(stride as u64))
    };
    if count <= FEW {
        let mut values = [T::new_zeroed(); FEW];
        for (i, value) in values.iter_mut().take(count).enumerate() {
            *value = read_struct_from(mem, at(i), stride)?;
        }
        return Ok(Array::Few(values, count));
    }

    // The allocator complains about sizes beyond this.
    if count > c_int::MAX as usize / size_of::<T>() {
        return Err(ENOMEM);
    }
    let mut values = KVVec::with_capacity(count, GFP_KERNEL | __GFP_NOWARN)?;

    for i in 0..count {
        values
            .push_within_capacity(read_struct_from::<T>(mem, at(i), stride)?)
            .map_err(|_| ENOMEM)?;
    }

    Ok(Array::Many(values))
}

/// [`read_struct_from()`] the current process.
pub(crate) fn read_struct<T: Pod>(from: u64, size: u32) -> Result<T> {
    read_struct_from(&UserMemory, from, size as usize)
}

/// [`write_struct_to()`] the current process.
pub(crate) fn write_struct<T: Versioned>(to: u64, size: u32, value: &T) -> Result {
    write_struct_to(&UserMemory, to, size as usize, value)
}

/// [`read_array_from()`] the current process.
pub(crate) fn read_array<T: Versioned>(array: ArrayAt) -> Result<Array<T>> {
    read_array_from(&UserMemory, array)
}

/// Copies a string that ends with a NUL from userspace; `max` is the most bytes it may have, with
/// the NUL. `E2BIG` when it has more, `EFAULT` when it cannot be read, `ENOMEM`.
pub(crate) fn strndup_user(addr: u64, max: usize) -> Result<kernel::str::CString> {
    let addr = usize::try_from(addr).map_err(|_| EFAULT)?;
    // SAFETY: The function checks the address.
    let text = unsafe {
        bindings::strndup_user(
            core::ptr::with_exposed_provenance(addr),
            isize::try_from(max)?,
        )
    };
    let text =
        kernel::error::from_err_ptr(text).map_err(|e| if e == EINVAL { E2BIG } else { e })?;
    // SAFETY: The function returned a string of ours that ends with a NUL.
    let copy = unsafe { CStr::from_char_ptr(text) }.to_cstring();
    // SAFETY: As above.
    unsafe { bindings::kfree(text.cast()) };
    Ok(copy?)
}
