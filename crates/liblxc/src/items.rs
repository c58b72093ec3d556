//! Member functions for the configuration and for cgroups: a key, and what is set.

use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr;

use crate::c::{self, Buffer, Text, guard};
use crate::object::{C, missing, read, write};

/// The length of `text`, which is written where there is room. Of a list also its beginning: so clients know it.
fn given(text: &str, to: *mut c_char, size: c_int, beginning: bool) -> c_int {
    Buffer::new(to, size).put(text, beginning);
    c_int::try_from(text.len()).unwrap_or(-1)
}

pub(crate) extern "C" fn load_config(c: C<'_>, file: Text<'_>) -> bool {
    write(c, false, |c| c.load_config(file.get().map(Path::new)).map(|()| true))
}

pub(crate) extern "C" fn save_config(c: C<'_>, file: Text<'_>) -> bool {
    write(c, false, |c| c.save_config(file.get().map(Path::new)).map(|()| true))
}

pub(crate) extern "C" fn config_file_name(c: C<'_>) -> *mut c_char {
    read(c, ptr::null_mut(), |c| Ok(c::string(&c.config_file_name())))
}

/// Another string each time: some clients free it, though they should not.
pub(crate) extern "C" fn get_config_path(c: C<'_>) -> *const c_char {
    read(c, ptr::null(), |c| Ok(c::string(&c.lxcpath).cast_const()))
}

pub(crate) extern "C" fn set_config_path(c: C<'_>, path: Text<'_>) -> bool {
    write(c, false, |c| c.set_config_path(path.filled().ok_or_else(|| missing("path"))?).map(|()| true))
}

/// NULL clears as an empty value does.
pub(crate) extern "C" fn set_config_item(c: C<'_>, key: Text<'_>, value: Text<'_>) -> bool {
    write(c, false, |c| {
        let value = if value.is_null() { "" } else { value.get().ok_or_else(|| missing("value"))? };
        c.set_config_item(key.get().ok_or_else(|| missing("key"))?, value).map(|()| true)
    })
}

pub(crate) extern "C" fn clear_config(c: C<'_>) {
    write(c, (), |c| {
        c.clear_config();
        Ok(())
    });
}

pub(crate) extern "C" fn clear_config_item(c: C<'_>, key: Text<'_>) -> bool {
    write(c, false, |c| c.clear_config_item(key.get().ok_or_else(|| missing("key"))?).map(|()| true))
}

pub(crate) extern "C" fn get_config_item(c: C<'_>, key: Text<'_>, to: *mut c_char, size: c_int) -> c_int {
    read(c, -1, |c| {
        let text = c.get_config_item(key.get().ok_or_else(|| missing("key"))?)?;
        Ok(given(&text, to, size, text.ends_with('\n')))
    })
}

pub(crate) extern "C" fn get_running_config_item(c: C<'_>, key: Text<'_>) -> *mut c_char {
    read(c, ptr::null_mut(), |c| {
        let text = c.get_running_config_item(key.get().ok_or_else(|| missing("key"))?)?;
        Ok(text.map_or(ptr::null_mut(), |text| c::string(&text)))
    })
}

pub(crate) extern "C" fn get_keys(c: C<'_>, below: Text<'_>, to: *mut c_char, size: c_int) -> c_int {
    read(c, -1, |c| {
        let keys = match below.filled() {
            // all keys there are, whatever is set
            None => hostel_lxc::Config::default().keys(None).unwrap_or_default(),
            below => c.get_keys(below)?,
        };
        Ok(given(&keys.iter().map(|key| format!("{key}\n")).collect::<String>(), to, size, true))
    })
}

pub(crate) extern "C" fn get_cgroup_item(c: C<'_>, item: Text<'_>, to: *mut c_char, size: c_int) -> c_int {
    read(c, -1, |c| Ok(given(&c.get_cgroup_item(item.get().ok_or_else(|| missing("item"))?)?, to, size, true)))
}

pub(crate) extern "C" fn set_cgroup_item(c: C<'_>, item: Text<'_>, value: Text<'_>) -> bool {
    read(c, false, |c| {
        let (item, value) = item.get().zip(value.get()).ok_or_else(|| missing("item or value"))?;
        c.set_cgroup_item(item, value).map(|()| true)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_config_item_is_supported(key: Text<'_>) -> bool {
    guard(false, || key.get().is_some_and(|key| hostel_lxc::keys::find(key).is_some()))
}
