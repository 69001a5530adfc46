// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Attributes of a device in sysfs.
//!
//! C header: `include/linux/device.h`

use super::bindings;
use core::{marker::PhantomPinned, ptr};
use kernel::{
    container_of,
    device::{self, Bound},
    devres,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    str::Formatter,
    sync::aref::ARef,
    types::Opaque,
};

/// An attribute whose methods get a `T`.
pub(crate) struct Attribute<T: 'static> {
    name: &'static CStr,
    mode: u16,
    show: Option<fn(&T, &mut Formatter<'_>) -> Result>,
    store: Option<fn(&T, &CStr) -> Result>,
}

impl<T> Attribute<T> {
    /// An attribute that everybody can read.
    pub(crate) const fn read_only(
        name: &'static CStr,
        show: fn(&T, &mut Formatter<'_>) -> Result,
    ) -> Self {
        Self {
            name,
            mode: 0o444,
            show: Some(show),
            store: None,
        }
    }

    /// An attribute that its owner can write. What is written with a NUL in it is `EINVAL`.
    pub(crate) const fn write_only(name: &'static CStr, store: fn(&T, &CStr) -> Result) -> Self {
        Self {
            name,
            mode: 0o200,
            show: None,
            store: Some(store),
        }
    }
}

/// An attribute as C sees it, with what the callbacks need.
///
/// # Invariants
///
/// `data` points to the `T` of the [`Group`] that the entry belongs to.
#[repr(C)]
struct Entry<T: 'static> {
    raw: Opaque<bindings::device_attribute>,
    desc: &'static Attribute<T>,
    data: *const T,
}

impl<T> Entry<T> {
    fn new(desc: &'static Attribute<T>, data: *const T) -> Self {
        let mut raw = bindings::device_attribute {
            attr: bindings::attribute {
                name: desc.name.as_char_ptr(),
                mode: desc.mode,
                ..pin_init::zeroed()
            },
            ..pin_init::zeroed()
        };

        // SAFETY: The attribute is valid; the key that it gets is a static.
        unsafe { bindings::kx_sysfs_attr_init(&mut raw.attr) };
        if desc.show.is_some() {
            raw.__bindgen_anon_1.show = Some(show_callback::<T>);
        }
        if desc.store.is_some() {
            raw.__bindgen_anon_2.store = Some(store_callback::<T>);
        }

        Self {
            raw: Opaque::new(raw),
            desc,
            data,
        }
    }
}

/// The attributes of a device, which devres keeps. They are removed when this is dropped, which waits
/// for the end of accesses under way.
///
/// # Invariants
///
/// The pointers in `entries` and `raw` are to the contents of `data`, `entries` and `attrs`, which
/// do not move. The group is registered with `dev`.
pub(crate) struct Group<T: 'static> {
    dev: ARef<device::Device>,
    raw: KBox<bindings::attribute_group>,
    _attrs: KVec<*mut bindings::attribute>,
    _entries: KVec<Entry<T>>,
    _data: KBox<T>,
    _pin: PhantomPinned,
}

// SAFETY: The pointers are to parts of the structure itself.
unsafe impl<T: Send + Sync> Send for Group<T> {}

impl<T: Send + Sync> Group<T> {
    /// Adds attributes to a device, until it is unbound.
    pub(crate) fn add(
        dev: &device::Device<Bound>,
        attributes: &'static [Attribute<T>],
        data: T,
    ) -> Result {
        let data = KBox::new(data, GFP_KERNEL)?;
        let mut entries = KVec::with_capacity(attributes.len(), GFP_KERNEL)?;
        let mut attrs = KVec::with_capacity(attributes.len().saturating_add(1), GFP_KERNEL)?;

        for attribute in attributes {
            entries.push(Entry::new(attribute, &raw const *data), GFP_KERNEL)?;
        }
        for entry in &entries {
            // `attr` is at the start of a `struct device_attribute`.
            attrs.push(entry.raw.get().cast::<bindings::attribute>(), GFP_KERNEL)?;
        }
        attrs.push(ptr::null_mut(), GFP_KERNEL)?;

        let mut raw = KBox::new(pin_init::zeroed::<bindings::attribute_group>(), GFP_KERNEL)?;
        // SAFETY: The group is valid, and the array ends with a null pointer.
        unsafe { bindings::kx_attribute_group_set_attrs(&mut *raw, attrs.as_mut_ptr()) };

        let dev_ref: &device::Device = dev;
        // SAFETY: The group and what it points to stay until they are removed.
        to_result(unsafe { bindings::sysfs_create_group(kobj(dev_ref), &*raw) })?;

        // INVARIANT: The group was registered above, and moving the boxes and vectors does not
        // move their contents.
        let group = Self {
            dev: dev_ref.into(),
            raw,
            _attrs: attrs,
            _entries: entries,
            _data: data,
            _pin: PhantomPinned,
        };

        devres::register::<Self, Error>(dev, Ok(group), GFP_KERNEL)
    }
}

impl<T> Drop for Group<T> {
    fn drop(&mut self) {
        // SAFETY: The group is registered by the type invariants.
        unsafe { bindings::sysfs_remove_group(kobj(&self.dev), &*self.raw) };
    }
}

/// The C object behind a device's directory.
fn kobj(dev: &device::Device) -> *mut bindings::kobject {
    let raw: *mut bindings::device = ptr::from_ref(dev).cast_mut().cast();

    // SAFETY: The device is valid.
    unsafe { &raw mut (*raw).kobj }
}

/// # Safety
///
/// To be called by the driver core only, for an attribute of a [`Group<T>`].
unsafe extern "C" fn show_callback<T: 'static>(
    _dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The attribute is part of an entry, which is not freed before it is removed.
    let entry = unsafe { &*container_of!(Opaque::cast_from(attr), Entry<T>, raw) };
    // SAFETY: By the invariants of the entry.
    let data = unsafe { &*entry.data };
    // A text that fills the page is taken for one that does not fit.
    // SAFETY: The buffer has the size of a page and is zeroed.
    let buf = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE - 1) };
    let mut out = Formatter::new(buf);

    match entry
        .desc
        .show
        .ok_or(EIO)
        .and_then(|show| show(data, &mut out))
    {
        Ok(()) => out.bytes_written() as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// # Safety
///
/// To be called by the driver core only, for an attribute of a [`Group<T>`].
unsafe extern "C" fn store_callback<T: 'static>(
    _dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: The attribute is part of an entry, which is not freed before it is removed.
    let entry = unsafe { &*container_of!(Opaque::cast_from(attr), Entry<T>, raw) };
    // SAFETY: By the invariants of the entry.
    let data = unsafe { &*entry.data };
    // SAFETY: sysfs ends what was written with a NUL.
    let text = unsafe { CStr::from_char_ptr(buf) };
    if text.to_bytes().len() != count {
        // There is a NUL in what was written.
        return EINVAL.to_errno() as isize;
    }

    match entry
        .desc
        .store
        .ok_or(EIO)
        .and_then(|store| store(data, text))
    {
        Ok(()) => count as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// Reads an integer as attributes have it: decimal, `0x` hexadecimal or `0` octal, with one newline
/// allowed at the end.
///
/// `EINVAL` if it is no integer, `ERANGE` if it does not fit.
pub(crate) fn parse_int(text: &CStr) -> Result<i32> {
    let mut value = 0;

    // SAFETY: Both pointers are valid.
    to_result(unsafe { bindings::kstrtoint(text.as_char_ptr(), 0, &mut value) })?;
    Ok(value)
}
