//! What C gives and takes: strings, arrays of them, places for results.

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Runs the body of a function that C calls: a panic is a failure.
pub(crate) fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// A `const char *` that C passed: NULL, or a string that stays as it is during the call. Rust makes none.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(*const c_char, PhantomData<&'a c_char>);

impl<'a> Text<'a> {
    pub(crate) const NULL: Text<'static> = Text(ptr::null(), PhantomData);

    pub(crate) fn bytes(self) -> Option<&'a CStr> {
        // SAFETY: C passed it as a string, which nobody changes during the call.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
    /// `None`: NULL, or what is no UTF-8, which no name, key or value is.
    pub(crate) fn get(self) -> Option<&'a str> {
        self.bytes()?.to_str().ok()
    }
    /// The same; an empty one is none.
    pub(crate) fn filled(self) -> Option<&'a str> {
        self.get().filter(|text| !text.is_empty())
    }
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }
    /// One that Rust made, for as long as `text` lives.
    pub(crate) fn of(text: &'a CStr) -> Text<'a> {
        Text(text.as_ptr(), PhantomData)
    }
}

/// A `char *const []` that C passed, which ends with NULL, or NULL.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a>(*const Text<'a>);

impl<'a> Texts<'a> {
    pub(crate) const NONE: Texts<'static> = Texts(ptr::null());

    /// The strings; `None`: NULL.
    pub(crate) fn get(self) -> Option<Vec<Text<'a>>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: C passed an array of strings that ends with NULL; nothing behind that is read.
        Some((0..).map(|at| unsafe { *self.0.add(at) }).take_while(|text| !text.is_null()).collect())
    }
    /// The same as text; what is no UTF-8 makes all of it an error.
    pub(crate) fn words(self) -> Option<Result<Vec<String>, &'static str>> {
        Some(self.get()?.into_iter().map(|text| text.get().map(str::to_owned).ok_or("a word is not UTF-8")).collect())
    }
    /// One that Rust made, for as long as `array` lives.
    pub(crate) fn of(array: &'a [Text<'a>]) -> Texts<'a> {
        if array.last().is_some_and(|last| last.is_null()) { Texts(array.as_ptr()) } else { Texts::NONE }
    }
}

/// A place that C passed for a result: NULL, or where one is written.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    #[cfg(test)]
    pub(crate) const NONE: Out<T> = Out(ptr::null_mut());

    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }
    pub(crate) fn put(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: C passed a place for one, which is not read here and has nothing to drop.
            unsafe { self.0.write(value) }
        }
    }
}

impl<T: Copy> Out<T> {
    /// What is there.
    pub(crate) fn get(&self) -> Option<T> {
        // SAFETY: C passed a place with a value in it.
        (!self.0.is_null()).then(|| unsafe { self.0.read() })
    }
}

/// A descriptor that C passed and goes on having; `None`: there is none of that number.
pub(crate) fn descriptor<'a>(number: c_int) -> Option<BorrowedFd<'a>> {
    // SAFETY: it is passed for this call; one that is not open is EBADF wherever it is used.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// A buffer that C passed with its size.
pub(crate) struct Buffer {
    to: *mut c_char,
    room: usize,
}

impl Buffer {
    pub(crate) fn new(to: *mut c_char, size: c_int) -> Buffer {
        Buffer { to, room: if to.is_null() { 0 } else { usize::try_from(size).unwrap_or(0) } }
    }
    /// Writes `text` and a NUL as far as there is room: all of it, or, if that may be, its beginning.
    pub(crate) fn put(&self, text: &str, beginning: bool) {
        if self.room == 0 || (text.len() >= self.room && !beginning) {
            return;
        }
        let length = text.len().min(self.room - 1);
        // SAFETY: C passed a buffer of `room` bytes; `length` and the NUL are within, and it is no memory of Rust's.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr().cast(), self.to, length);
            self.to.add(length).write(0);
        }
    }
}

/// An array of C's with these values, and zeroes behind the last; NULL: there is no memory.
pub(crate) fn array<T>(values: Vec<T>) -> *mut T {
    // SAFETY: two numbers; an overflow is NULL.
    let to = unsafe { libc::calloc(values.len() + 1, size_of::<T>()) }.cast::<T>();
    if !to.is_null() {
        for (at, value) in values.into_iter().enumerate() {
            // SAFETY: `to` has room for one more than there are.
            unsafe { to.add(at).write(value) }
        }
    }
    to
}

/// Bytes of C's; NULL for none.
pub(crate) fn data(bytes: &[u8]) -> *mut c_char {
    if bytes.is_empty() { ptr::null_mut() } else { array(bytes.to_vec()).cast() }
}

/// A string of C's. What has a NUL in it ends there.
pub(crate) fn string(text: &str) -> *mut c_char {
    let whole = CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default();
    // SAFETY: a string; strdup(3) copies it.
    unsafe { libc::strdup(whole.as_ptr()) }
}

/// An array of such strings that ends with NULL.
pub(crate) fn strings(texts: &[String]) -> *mut *mut c_char {
    array(texts.iter().map(|text| string(text)).collect())
}

/// Gives memory of C's back.
///
/// # Safety
/// It is from malloc(3), or NULL, and nobody uses it any more.
pub(crate) unsafe fn free<T>(memory: *mut T) {
    // SAFETY: the caller's promise.
    unsafe { libc::free(memory.cast()) }
}

pub(crate) fn set_errno(number: i32) {
    // SAFETY: the place of this thread's errno.
    unsafe { *libc::__errno_location() = number }
}
