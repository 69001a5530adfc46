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
    page::PAGE_SIZE,
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

/// The most bytes that any version of a structure will have: looking at what is said to be the rest
/// of one takes no longer than that.
pub(crate) const MAX_SIZE: usize = PAGE_SIZE;

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
/// `E2BIG` if it uses a part that we do not know, or has more than a page.
pub(crate) fn read_struct_from<T: Pod>(mem: &impl Memory, from: u64, size: usize) -> Result<T> {
    if size > MAX_SIZE {
        return Err(E2BIG);
    }
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
/// `EINVAL` if it knows less than the first version, `E2BIG` if it has more than a page.
pub(crate) fn write_struct_to<T: Versioned>(
    mem: &impl Memory,
    to: u64,
    size: usize,
    value: &T,
) -> Result {
    if size < T::MIN_SIZE {
        return Err(EINVAL);
    }
    if size > MAX_SIZE {
        return Err(E2BIG);
    }

    let known = size.min(size_of::<T>());
    mem.write(to, value.as_bytes().get(..known).ok_or(EINVAL)?)?;

    match size.checked_sub(known) {
        None | Some(0) => Ok(()),
        Some(rest) => mem.clear(to.checked_add(known as u64).ok_or(EFAULT)?, rest),
    }
}

/// So many structures are read when an array is looked at for the first time, and kept.
const FEW: usize = 2;

/// So many structures are in memory at a time, of an array that has more.
const PIECE: usize = 16;

/// What a walk over an array came to: an error, and at which structure.
type Walk = Result<(), (u32, Error)>;

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

impl ArrayAt {
    /// Reads structures from number `first` on into a piece; returns those that there are.
    fn read_piece<'a, T: Versioned>(
        &self,
        mem: &impl Memory,
        first: u32,
        piece: &'a mut [T; PIECE],
    ) -> Result<&'a [T]> {
        // CAST: From 32 bits, which an address has at least.
        let (stride, left) = (
            self.stride as usize,
            self.count.saturating_sub(first) as usize,
        );
        let at = |i: usize| {
            let start = u64::from(first).wrapping_mul(stride as u64);
            self.addr
                .wrapping_add(start)
                .wrapping_add((i as u64).wrapping_mul(stride as u64))
        };
        let values = piece.get_mut(..left.min(PIECE)).ok_or(EINVAL)?;

        if stride == size_of::<T>() {
            mem.read(at(0), values.as_mut_bytes())?;
        } else {
            for (i, value) in values.iter_mut().enumerate() {
                *value = read_struct_from(mem, at(i), stride)?;
            }
        }
        Ok(values)
    }

    /// Calls `f` with the number of the first structure of each piece, and the piece. Before each
    /// but the first one it is asked whether to go on. Stops at the first error, and returns the
    /// number of the structure in `f`, or of the first one that was not looked at.
    fn for_each_piece<T: Versioned>(
        &self,
        mem: &impl Memory,
        may_go_on: &dyn Fn() -> Result,
        f: &mut dyn FnMut(u32, &[T]) -> Walk,
    ) -> Walk {
        let mut piece = [T::new_zeroed(); PIECE];
        let mut first = 0u32;

        while first < self.count {
            if first > 0 {
                may_go_on().map_err(|e| (first, e))?;
            }
            let values = self
                .read_piece(mem, first, &mut piece)
                .map_err(|e| (first, e))?;
            f(first, values)?;
            // CAST: At most the length of a piece.
            first = first.saturating_add(values.len() as u32);
        }
        Ok(())
    }
}

/// An array of structures that can be read, or could a moment ago.
///
/// It is userspace that says how many there are: no memory is taken for them. The other side may
/// change them between the look at all of them and [`Self::for_each`].
pub(crate) enum Array<'a, T: Versioned, M: Memory> {
    /// The first ones of these.
    Few([T; FEW], usize),
    /// Those that are there.
    Many(&'a M, ArrayAt),
}

impl<T: Versioned, M: Memory> Array<'_, T, M> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(_, len) => *len == 0,
            Self::Many(_, at) => at.count == 0,
        }
    }

    /// Calls `f` for all structures, in their order. Stops at the first error, and returns it with
    /// the number of the structure, all before which are done.
    ///
    /// It may take as long as userspace likes: before each one but the first it is asked whether to
    /// go on.
    #[inline(always)]
    pub(crate) fn for_each(
        &self,
        may_go_on: impl Fn() -> Result,
        mut f: impl FnMut(&T) -> Result,
    ) -> Walk {
        match self {
            Self::Few(values, len) => {
                for (value, i) in values.iter().take(*len).zip(0..) {
                    if i > 0 {
                        may_go_on().map_err(|e| (i, e))?;
                    }
                    f(value).map_err(|e| (i, e))?;
                }
                Ok(())
            }
            Self::Many(mem, at) => Self::for_each_of_many(*mem, at, &may_go_on, &mut f),
        }
    }

    #[inline(never)]
    fn for_each_of_many(
        mem: &M,
        at: &ArrayAt,
        may_go_on: &dyn Fn() -> Result,
        f: &mut dyn FnMut(&T) -> Result,
    ) -> Walk {
        at.for_each_piece(mem, &|| Ok(()), &mut |first, values: &[T]| {
            for (value, i) in values.iter().zip(first..) {
                if i > 0 {
                    may_go_on().map_err(|e| (i, e))?;
                }
                f(value).map_err(|e| (i, e))?;
            }
            Ok(())
        })
    }
}

/// Looks at an array of structures, piece by piece, and asks now and then whether to go on.
///
/// `EINVAL` if the other side knows less than the first version of the structure, `E2BIG` if it
/// uses a part that we do not know, or says that one has more than a page.
pub(crate) fn read_array_from<'a, T: Versioned, M: Memory>(
    mem: &'a M,
    array: ArrayAt,
    may_go_on: impl Fn() -> Result,
) -> Result<Array<'a, T, M>> {
    if array.count == 0 {
        return Ok(Array::Few([T::new_zeroed(); FEW], 0));
    }

    // CAST: From 32 bits, which an address has at least.
    let (stride, count) = (array.stride as usize, array.count as usize);
    if stride < T::MIN_SIZE {
        return Err(EINVAL);
    }

    if count <= FEW {
        let mut values = [T::new_zeroed(); FEW];
        for (i, value) in values.iter_mut().take(count).enumerate() {
            let at = array.addr.wrapping_add((i * stride) as u64);
            *value = read_struct_from(mem, at, stride)?;
        }
        return Ok(Array::Few(values, count));
    }
    look_at_many::<T>(mem, &array, &may_go_on)?;
    Ok(Array::Many(mem, array))
}

/// Whether all structures of an array can be read.
#[inline(never)]
fn look_at_many<T: Versioned>(
    mem: &impl Memory,
    array: &ArrayAt,
    may_go_on: &dyn Fn() -> Result,
) -> Result {
    array
        .for_each_piece(mem, may_go_on, &mut |_, _: &[T]| Ok(()))
        .map_err(|(_, e)| e)
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
pub(crate) fn read_array<T: Versioned>(
    array: ArrayAt,
    may_go_on: impl Fn() -> Result,
) -> Result<UserArray<T>> {
    read_array_from(&UserMemory, array, may_go_on)
}

/// An array in the memory of the current process.
pub(crate) type UserArray<T> = Array<'static, T, UserMemory>;

/// Copies a string that ends with a NUL from userspace, without the NUL; `max` is the most bytes it may
/// have, with the NUL. The memory is charged to the caller. `E2BIG` when it has more, `EFAULT` when it
/// cannot be read, `ENOMEM`.
pub(crate) fn strndup_user(addr: u64, max: usize) -> Result<KVec<u8>> {
    let ptr = UserMemory::ptr(addr)?;
    // SAFETY: The function checks the address.
    let len = unsafe { bindings::strnlen_user(ptr.as_const_ptr().cast(), max.try_into()?) };
    // With the NUL.
    let len = usize::try_from(len)?.checked_sub(1).ok_or(EFAULT)?;
    if len >= max {
        return Err(E2BIG);
    }
    let mut text = KVec::new();
    UserSlice::new(ptr, len).read_all(&mut text, GFP_KERNEL_ACCOUNT)?;
    // It may be another one by now.
    if let Some(len) = text.iter().position(|byte| *byte == 0) {
        text.truncate(len);
    }
    Ok(text)
}
