//! Member functions for what is in a container that runs: terminals, processes, devices, interfaces.

use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::ptr;

use hostel_container::{Error, Result};
use rustix::io::Errno;

use crate::attach::{self, Callback, Given};
use crate::c::{self, Out, Text, Texts};
use crate::global::{Command, lxc_attach_run_command};
use crate::object::{C, missing, read, read_number};

pub(crate) extern "C" fn get_interfaces(c: C<'_>) -> *mut *mut c_char {
    read(c, ptr::null_mut(), |c| c.get_interfaces().map(|names| c::strings(&names)))
}

/// None are NULL.
pub(crate) extern "C" fn get_ips(c: C<'_>, interface: Text<'_>, family: Text<'_>, scope: c_int) -> *mut *mut c_char {
    read(c, ptr::null_mut(), |c| {
        let all = c.get_ips(interface.filled(), family.filled(), scope as u32)?;
        Ok(if all.is_empty() { ptr::null_mut() } else { c::strings(&all) })
    })
}

pub(crate) extern "C" fn add_device_node(c: C<'_>, source: Text<'_>, target: Text<'_>) -> bool {
    read(c, false, |c| c.add_device_node(source.get().ok_or_else(|| missing("device"))?, target.filled()).map(|()| true))
}

pub(crate) extern "C" fn remove_device_node(c: C<'_>, source: Text<'_>, target: Text<'_>) -> bool {
    read(c, false, |c| c.remove_device_node(source.get().ok_or_else(|| missing("device"))?, target.filled()).map(|()| true))
}

pub(crate) extern "C" fn attach_interface(c: C<'_>, name: Text<'_>, inside: Text<'_>) -> bool {
    read(c, false, |c| c.attach_interface(name.get().ok_or_else(|| missing("interface"))?, inside.filled()).map(|()| true))
}

pub(crate) extern "C" fn detach_interface(c: C<'_>, name: Text<'_>, here: Text<'_>) -> bool {
    read(c, false, |c| c.detach_interface(name.get().ok_or_else(|| missing("interface"))?, here.filled()).map(|()| true))
}

/// What is returned holds the terminal.
pub(crate) extern "C" fn console_getfd(c: C<'_>, number: Out<c_int>, master: Out<c_int>) -> c_int {
    read(c, -1, |c| {
        let tty = c.console_getfd(number.get().unwrap_or(-1))?;
        if master.is_null() {
            return Err(missing("descriptor"));
        }
        number.put(tty.number);
        master.put(tty.master.into_raw_fd());
        Ok(tty.lease.into_raw_fd())
    })
}

fn borrowed<'a>(number: c_int) -> Result<BorrowedFd<'a>> {
    c::descriptor(number).ok_or_else(|| Error::new("use", format_args!("descriptor {number}"), "there is none of that number", Errno::BADF))
}

/// The escape character is a letter's number; -1: none.
pub(crate) extern "C" fn console(c: C<'_>, number: c_int, input: c_int, output: c_int, _error: c_int, escape: c_int) -> c_int {
    read(c, -1, |c| {
        let escape = u8::try_from(escape).ok().filter(|escape| *escape > 0);
        c.console(number, borrowed(input)?, borrowed(output)?, escape, |_| {}).map(|()| 0)
    })
}

/// `struct lxc_console_log`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ConsoleLog {
    clear: bool,
    read: bool,
    read_max: *mut u64,
    data: *mut c_char,
}
const _: () = assert!(offset_of!(ConsoleLog, read_max) == 8 && size_of::<ConsoleLog>() == 24);

pub(crate) extern "C" fn console_log(c: C<'_>, log: Out<ConsoleLog>) -> c_int {
    read_number(c, |c| {
        let Some(mut asked) = log.get().filter(|asked| !asked.read_max.is_null()) else { return Err(missing("log")) };
        // SAFETY: the client passed a place with a number in it.
        let most = unsafe { *asked.read_max };
        let bytes = match c.console_log(asked.clear, most, false) {
            Err(e) if !asked.read && e.number == libc::ENODATA => Vec::new(),
            other => other?,
        };
        let bytes = if asked.read { bytes } else { Vec::new() };
        asked.data = c::data(&bytes);
        // SAFETY: as above.
        unsafe { *asked.read_max = bytes.len() as u64 };
        log.put(asked);
        Ok(0)
    })
}

pub(crate) extern "C" fn attach(c: C<'_>, what: Option<Callback>, payload: *mut c_void, options: Given<'_>, pid: Out<c_int>) -> c_int {
    read_number(c, |c| {
        let what = what.ok_or_else(|| missing("function"))?;
        if pid.is_null() {
            return Err(missing("pid"));
        }
        pid.put(attach::attach(c, options, &mut || what(payload))?);
        Ok(0)
    })
}

pub(crate) extern "C" fn attach_run_wait(c: C<'_>, options: Given<'_>, program: Text<'_>, argv: Texts<'_>) -> c_int {
    read(c, -1, |c| {
        let command = Command { program, argv };
        let payload = ptr::from_ref(&command).cast_mut().cast();
        let pid = attach::attach(c, options, &mut || lxc_attach_run_command(payload))?;
        attach::wait(pid)
    })
}

/// Into the directory of `lxc.mount.auto = shmounts:`, which no container here has.
fn without_shmounts<T>(verb: &str) -> Result<T> {
    Err(Error::new(verb, "in container", "it has no directory for that (lxc.mount.auto = shmounts:)", Errno::INVAL))
}

pub(crate) extern "C" fn mount(c: C<'_>, _: Text<'_>, _: Text<'_>, _: Text<'_>, _flags: c_ulong, _data: *const c_void, _: *mut c_void) -> c_int {
    read_number(c, |_| without_shmounts("mount"))
}

pub(crate) extern "C" fn umount(c: C<'_>, _target: Text<'_>, _flags: c_ulong, _: *mut c_void) -> c_int {
    read_number(c, |_| without_shmounts("unmount"))
}

/// `notify` is refused in profiles: nobody is asked.
pub(crate) extern "C" fn seccomp_notify_fd(c: C<'_>) -> c_int {
    read_number(c, |_| Err(Error::new("take", "notifications of system calls", "no profile has `notify`", Errno::INVAL)))
}

pub(crate) extern "C" fn init_pidfd(c: C<'_>) -> c_int {
    read_number(c, |c| c.init_pidfd().map(IntoRawFd::into_raw_fd))
}

pub(crate) extern "C" fn devpts_fd(c: C<'_>) -> c_int {
    read_number(c, |c| c.devpts_fd().map(IntoRawFd::into_raw_fd))
}
