//! The functions and the one object that belong to no container.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use hostel_process::userdb;
use hostel_spec::UserSelector;

use crate::attach::personality_of;
use crate::c::{self, Out, Text, Texts, guard};
use crate::object::{C, LxcContainer, made};

// The configuration that LXC's own helpers look at in a child: a client that is linked to it finds it, and nothing in it.
std::arch::global_asm!(
    ".section .tbss,\"awT\",%nobits",
    ".globl current_config",
    ".type current_config, %object",
    ".size current_config, 8",
    ".p2align 3",
    "current_config:",
    ".zero 8",
    ".text",
);

/// The newest with version 1 of cgroups and this interface: bindings look at it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_get_version() -> *const c_char {
    c"6.0.4".as_ptr()
}

/// What is said to be there is there.
const EXTENSIONS: [&str; 12] = [
    "lxc_log",
    "lxc_config_item_is_supported",
    "console_log",
    "reboot2",
    "network_gateway_device_route",
    "network_phys_macvlan_mtu",
    "cgroup2",
    "cgroup2_devices",
    "pidfd",
    "time_namespace",
    "seccomp_allow_deny_syntax",
    "environment_runtime_hooks",
];

/// NULL asks for nothing, which is there.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_has_api_extension(name: Text<'_>) -> bool {
    guard(false, || name.is_null() || name.get().is_some_and(|name| EXTENSIONS.contains(&name)))
}

/// A value stays where it is: clients keep the pointer.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_get_global_config_item(key: Text<'_>) -> *const c_char {
    static GIVEN: Mutex<BTreeMap<String, CString>> = Mutex::new(BTreeMap::new());
    guard(ptr::null(), || {
        let Some(value) = key.get().and_then(hostel_container::global_item) else {
            c::set_errno(libc::EINVAL);
            return ptr::null();
        };
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let text = || CString::new(value.as_str()).unwrap_or_default();
        // Its bytes are on the heap, and it is never removed.
        given.entry(value.clone()).or_insert_with(text).as_ptr()
    })
}

/// The names below an lxcpath, and the containers, in order; without a place for the latter no container is looked at.
fn list(
    lxcpath: Text<'_>,
    names: Out<*mut *mut c_char>,
    containers: Out<*mut *mut LxcContainer>,
    of: fn(&str) -> hostel_container::Result<Vec<String>>,
) -> c_int {
    guard(-1, || {
        let lxcpath = lxcpath.filled().map_or_else(|| hostel_container::global_item("lxc.lxcpath").unwrap_or_default(), str::to_owned);
        let found = match of(&lxcpath) {
            Ok(found) => found,
            Err(error) => {
                crate::log::write("", &error.text);
                c::set_errno(error.number);
                return -1;
            }
        };
        let mut all: Vec<(String, *mut LxcContainer)> = found.into_iter().map(|name| (name, ptr::null_mut())).collect();
        if !containers.is_null() {
            all.iter_mut().for_each(|(name, container)| *container = made(name, Some(&lxcpath)));
            // One whose configuration is broken is not counted: each name has its container.
            all.retain(|(_, container)| !container.is_null());
            containers.put(c::array(all.iter().map(|(_, container)| *container).collect()));
        }
        if !names.is_null() {
            names.put(c::array(all.iter().map(|(name, _)| c::string(name)).collect()));
        }
        all.len() as c_int
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn list_defined_containers(lxcpath: Text<'_>, names: Out<*mut *mut c_char>, containers: Out<*mut *mut LxcContainer>) -> c_int {
    list(lxcpath, names, containers, hostel_container::list_defined)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn list_active_containers(lxcpath: Text<'_>, names: Out<*mut *mut c_char>, containers: Out<*mut *mut LxcContainer>) -> c_int {
    list(lxcpath, names, containers, hostel_container::list_active)
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn list_all_containers(lxcpath: Text<'_>, names: Out<*mut *mut c_char>, containers: Out<*mut *mut LxcContainer>) -> c_int {
    list(lxcpath, names, containers, hostel_container::list_all)
}

/// `lxc_attach_command_t`.
#[repr(C)]
pub(crate) struct Command<'a> {
    pub(crate) program: Text<'a>,
    pub(crate) argv: Texts<'a>,
}

/// Executes a command; what it returns is the status a shell would have.
fn execute(program: &CStr, argv: &[Text<'_>]) -> c_int {
    // What a client ignores is its own business: the command begins as every command.
    let _ = hostel_sys::proc::reset_signals();
    let argv: Vec<*const c_char> = argv.iter().map(|word| word.bytes().map_or(ptr::null(), CStr::as_ptr)).chain([ptr::null()]).collect();
    // SAFETY: strings, and an array of them that ends with NULL.
    unsafe { libc::execvp(program.as_ptr(), argv.as_ptr()) };
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOENT) => 127,
        Some(libc::EACCES | libc::ENOEXEC) => 126,
        _ => -1,
    }
}

/// Run inside by `attach`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_attach_run_command(command: *mut c_void) -> c_int {
    guard(-1, || {
        // SAFETY: C passes a command, or NULL.
        let Some(command) = (unsafe { command.cast::<Command<'_>>().as_ref() }) else { return -1 };
        let Some(program) = command.program.bytes() else { return -1 };
        execute(program, &command.argv.get().unwrap_or_else(|| vec![command.program]))
    })
}

/// The same with the shell of the user that it is inside.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_attach_run_shell(_: *mut c_void) -> c_int {
    guard(-1, || {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, rustix::fs::Mode::empty());
        let uid = rustix::process::getuid().as_raw();
        let user = root.ok().and_then(|root| userdb::lookup(&root, &UserSelector::Id(uid)).ok());
        let shells = user.map(|user| user.shell).into_iter().chain(["/bin/sh".to_owned()]);
        shells.filter_map(|shell| CString::new(shell).ok()).fold(-1, |_, shell| execute(&shell, &[Text::of(&shell)]))
    })
}

/// `struct lxc_list`: the client has its head; what is in it is ours.
#[repr(C)]
pub(crate) struct List {
    elem: *mut c_void,
    next: *mut List,
    prev: *mut List,
}

/// Keeps a setting (`KEY=VALUE`) for later; 0, or -1.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_config_define_add(head: Option<&mut List>, text: Text<'_>) -> c_int {
    guard(-1, || {
        let (Some(head), Some((key, value))) = (head, text.get().and_then(|text| text.split_once('='))) else { return -1 };
        let setting = Box::new((key.trim().to_owned(), value.trim().to_owned()));
        let head = ptr::from_mut(head);
        // SAFETY: a list of the client's, made with its own header or empty as it says; its last member is the one before the head.
        unsafe {
            let last = (*head).prev;
            let node = Box::into_raw(Box::new(List { elem: Box::into_raw(setting).cast(), next: head, prev: last }));
            (*last).next = node;
            (*head).prev = node;
        }
        0
    })
}

/// Each setting of a list in its order, as long as `each` says so.
fn settings(head: &List, mut each: impl FnMut(&(String, String)) -> bool) -> bool {
    let mut node = head.next.cast_const();
    while !ptr::eq(node, head) {
        // SAFETY: what is in the list was put there above.
        let setting = unsafe { &*(*node).elem.cast::<(String, String)>() };
        if !each(setting) {
            return false;
        }
        // SAFETY: likewise.
        node = unsafe { (*node).next };
    }
    true
}

/// Sets all of them.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_config_define_load(head: Option<&List>, c: C<'_>) -> bool {
    head.is_some_and(|head| settings(head, |(key, value)| crate::object::write(c, false, |c| c.set_config_item(key, value).map(|()| true))))
}

/// Empties the list.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_config_define_free(head: Option<&mut List>) {
    let Some(head) = head.map(ptr::from_mut) else { return };
    // SAFETY: what is in the list was put there above, and is in no list afterwards; the head stays the client's.
    unsafe {
        let mut node = (*head).next;
        while node != head {
            let next = (*node).next;
            drop(Box::from_raw((*node).elem.cast::<(String, String)>()));
            drop(Box::from_raw(node));
            node = next;
        }
        (*head).next = head;
        (*head).prev = head;
    }
}

/// 0 and the personality, or -EINVAL.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_config_parse_arch(word: Text<'_>, to: Out<c_long>) -> c_int {
    guard(-libc::EINVAL, || match word.get().and_then(personality_of) {
        Some(personality) => {
            to.put(personality.into());
            0
        }
        None => -libc::EINVAL,
    })
}
