//! cuDNN's library, found and loaded at run time by cudarc, and the functions of its graph API.
//!
//! Functions are looked up one by one, so that a library without one of them is an error and no panic; and a status is a plain number here,
//! since a later cuDNN may return one that no enumeration of today knows.

use crate::error::{Error, Result};
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type};
use std::ffi::{CStr, c_char, c_int, c_void};

/// A descriptor or a handle.
pub(super) type Raw = *mut c_void;

/// The functions in use. Signatures: cudnn_graph.h.
pub(super) struct Library {
    version: unsafe extern "C" fn() -> usize,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    pub create: unsafe extern "C" fn(*mut Raw) -> c_int,
    pub destroy: unsafe extern "C" fn(Raw) -> c_int,
    pub set_stream: unsafe extern "C" fn(Raw, *mut c_void) -> c_int,
    pub create_descriptor: unsafe extern "C" fn(c_int, *mut Raw) -> c_int,
    pub destroy_descriptor: unsafe extern "C" fn(Raw) -> c_int,
    pub finalize: unsafe extern "C" fn(Raw) -> c_int,
    pub set_attribute: unsafe extern "C" fn(Raw, c_int, c_int, i64, *const c_void) -> c_int,
    pub get_attribute: unsafe extern "C" fn(Raw, c_int, c_int, i64, *mut i64, *mut c_void) -> c_int,
    pub execute: unsafe extern "C" fn(Raw, Raw, Raw) -> c_int,
}

impl Library {
    /// # Errors
    /// If there is no cuDNN, or one without the graph API.
    pub fn load() -> Result<&'static Library> {
        static LOADED: std::sync::OnceLock<Option<Library>> = std::sync::OnceLock::new();
        // SAFETY: this only tries to open the library, whose initialisers are NVIDIA's own.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::device("cuDNN (libcudnn) was not found")
                .remedy("install cuDNN 8.9 or later, or let LD_LIBRARY_PATH name the folder that holds it"));
        }
        let loaded = LOADED.get_or_init(|| {
            // SAFETY: it is present, so this does not panic. The types are those of cuDNN's header, the same from 8.0 on.
            unsafe {
                let library = sys::culib();
                macro_rules! function {
                    ($name:literal) => {
                        *library.get($name).ok()?
                    };
                }
                Some(Library {
                    version: function!(b"cudnnGetVersion\0"),
                    error_string: function!(b"cudnnGetErrorString\0"),
                    create: function!(b"cudnnCreate\0"),
                    destroy: function!(b"cudnnDestroy\0"),
                    set_stream: function!(b"cudnnSetStream\0"),
                    create_descriptor: function!(b"cudnnBackendCreateDescriptor\0"),
                    destroy_descriptor: function!(b"cudnnBackendDestroyDescriptor\0"),
                    finalize: function!(b"cudnnBackendFinalize\0"),
                    set_attribute: function!(b"cudnnBackendSetAttribute\0"),
                    get_attribute: function!(b"cudnnBackendGetAttribute\0"),
                    execute: function!(b"cudnnBackendExecute\0"),
                })
            }
        });
        loaded.as_ref().ok_or_else(|| Error::device("this cuDNN has no graph API").remedy("install cuDNN 8.9 or later"))
    }

    /// Such as `9.10.2`.
    pub fn version(&self) -> String {
        // SAFETY: a function without arguments.
        name_version(unsafe { (self.version)() })
    }

    /// Turns a status into an error that says what was done.
    ///
    /// # Errors
    /// If it is not 0, `CUDNN_STATUS_SUCCESS`.
    pub fn check(&self, status: c_int, doing: &str) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: cuDNN gives a text that lives as long as the library, for numbers that it does not know too.
        let text = unsafe { (self.error_string)(status).as_ref().map(|text| CStr::from_ptr(text).to_string_lossy()) };
        Err(Error::device(format!("cuDNN failed to {doing}: {} ({status})", text.unwrap_or_default())))
    }
}

/// 9 has two digits more for its minor number than 8: 90100 is 9.1.0, 8907 is 8.9.7.
fn name_version(version: usize) -> String {
    let major = if version >= 10_000 { 10_000 } else { 1000 };
    format!("{}.{}.{}", version / major, version % major / 100, version % 100)
}

/// A descriptor of the graph API.
pub(super) struct Descriptor {
    library: &'static Library,
    pub raw: Raw,
}

impl Descriptor {
    pub fn new(library: &'static Library, kind: sys::cudnnBackendDescriptorType_t) -> Result<Descriptor> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pointer is to a live place for a descriptor.
        let status = unsafe { (library.create_descriptor)(kind as c_int, &mut raw) };
        library.check(status, &format!("create a {kind:?}"))?;
        Ok(Descriptor { library, raw })
    }

    pub fn finalize(&self) -> Result<()> {
        // SAFETY: a live descriptor.
        let status = unsafe { (self.library.finalize)(self.raw) };
        self.library.check(status, "finalize a descriptor")
    }

    pub fn set_integers(&self, name: Attribute, values: &[i64]) -> Result<()> {
        self.set(name, Type::CUDNN_TYPE_INT64, values)
    }

    /// A value of one of cuDNN's enumerations, `kind` of them.
    pub fn set_choice(&self, name: Attribute, kind: Type, value: c_int) -> Result<()> {
        self.set(name, kind, &[value])
    }

    pub fn set_factor(&self, name: Attribute, value: f32) -> Result<()> {
        self.set(name, Type::CUDNN_TYPE_FLOAT, &[value])
    }

    pub fn set_handle(&self, name: Attribute, handle: Raw) -> Result<()> {
        self.set(name, Type::CUDNN_TYPE_HANDLE, &[handle])
    }

    pub fn set_descriptor(&self, name: Attribute, other: &Descriptor) -> Result<()> {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[other.raw])
    }

    /// Addresses on the device.
    pub fn set_addresses(&self, name: Attribute, addresses: &[u64]) -> Result<()> {
        self.set(name, Type::CUDNN_TYPE_VOID_PTR, addresses)
    }

    fn set<T: Copy>(&self, name: Attribute, kind: Type, values: &[T]) -> Result<()> {
        // SAFETY: a live descriptor, and as many values as are said; callers pair each type with its representation in cuDNN: 64-bit
        // integers, enumerations as int, f32, handles, descriptors and device pointers.
        let status = unsafe {
            (self.library.set_attribute)(self.raw, name as c_int, kind as c_int, values.len() as i64, values.as_ptr().cast())
        };
        self.library.check(status, &format!("set {name:?}"))
    }

    pub fn integer(&self, name: Attribute) -> Result<i64> {
        let (mut value, mut count) = (0i64, 0);
        self.get(name, Type::CUDNN_TYPE_INT64, std::slice::from_mut(&mut value), &mut count)?;
        Ok(value)
    }

    /// Values of one of cuDNN's enumerations, at most `most`.
    pub fn choices(&self, name: Attribute, kind: Type, most: usize) -> Result<Vec<c_int>> {
        let (mut values, mut count) = (vec![0; most], 0);
        self.get(name, kind, &mut values, &mut count)?;
        values.truncate(usize::try_from(count).unwrap_or(0));
        Ok(values)
    }

    /// As many descriptors of a kind as this one holds under `name`.
    pub fn descriptors(&self, name: Attribute, kind: sys::cudnnBackendDescriptorType_t) -> Result<Vec<Descriptor>> {
        let mut count = 0;
        self.get::<Raw>(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut [], &mut count)?;
        let mut found = (0..count).map(|_| Descriptor::new(self.library, kind)).collect::<Result<Vec<_>>>()?;
        let mut raw: Vec<Raw> = found.iter().map(|descriptor| descriptor.raw).collect();
        self.get(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut raw, &mut count)?;
        found.truncate(usize::try_from(count).unwrap_or(0));
        Ok(found)
    }

    fn get<T>(&self, name: Attribute, kind: Type, values: &mut [T], count: &mut i64) -> Result<()> {
        let into = if values.is_empty() { std::ptr::null_mut() } else { values.as_mut_ptr().cast() };
        // SAFETY: a live descriptor, places for as many values as are asked for, of the representation that `set` tells of. Descriptors
        // among them were created before, as cuDNN wants it, and are filled, not replaced.
        let status =
            unsafe { (self.library.get_attribute)(self.raw, name as c_int, kind as c_int, values.len() as i64, count, into) };
        self.library.check(status, &format!("get {name:?}"))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once. A failure would leak it, nothing more.
        unsafe { (self.library.destroy_descriptor)(self.raw) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named() {
        assert_eq!(name_version(8907), "8.9.7");
        assert_eq!(name_version(90100), "9.1.0");
        assert_eq!(name_version(91002), "9.10.2");
    }

    /// With a cuDNN or without: no panic.
    #[test]
    fn a_missing_library_is_an_error() {
        match Library::load() {
            Ok(library) => assert!(library.version().contains('.')),
            Err(error) => assert!(error.to_string().contains("cuDNN"), "{error}"),
        }
    }
}
