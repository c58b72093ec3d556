//! Network interfaces: names and flags from /sys or the kernel's ioctls, addresses from getifaddrs.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::json::Json;
use crate::obj;

/// Every interface with flags, index, MAC and addresses.
pub fn interfaces() -> Json {
    struct Link {
        flags: u32,
        mac: String,
        addresses: Vec<String>,
    }
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return obj! {"error" => crate::sys::errno_name(crate::sys::errno())};
    }
    let mut at = list;
    while !at.is_null() {
        let entry = unsafe { &*at };
        at = entry.ifa_next;
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let link = links.entry(name).or_insert(Link { flags: entry.ifa_flags, mac: String::new(), addresses: Vec::new() });
        if entry.ifa_addr.is_null() {
            continue;
        }
        match i32::from(unsafe { (*entry.ifa_addr).sa_family }) {
            libc::AF_PACKET => {
                let ll = unsafe { &*(entry.ifa_addr as *const libc::sockaddr_ll) };
                link.mac = ll.sll_addr[..usize::from(ll.sll_halen.min(8))].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
                link.flags = entry.ifa_flags;
            }
            libc::AF_INET => {
                let a = unsafe { &*(entry.ifa_addr as *const libc::sockaddr_in) };
                link.addresses.push(format!("{}/{}", Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)), prefix(entry.ifa_netmask)));
            }
            libc::AF_INET6 => {
                let a = unsafe { &*(entry.ifa_addr as *const libc::sockaddr_in6) };
                link.addresses.push(format!("{}/{}", Ipv6Addr::from(a.sin6_addr.s6_addr), prefix(entry.ifa_netmask)));
            }
            _ => {}
        }
    }
    unsafe { libc::freeifaddrs(list) };
    Json::Arr(
        links
            .into_iter()
            .map(|(name, link)| {
                let index = unsafe { libc::if_nametoindex(crate::sys::c(&name).as_ptr()) };
                obj! {
                    "name" => name.as_str(), "index" => index, "flags" => link.flags, "up" => link.flags & libc::IFF_UP as u32 != 0,
                    "mac" => link.mac, "addresses" => link.addresses,
                }
            })
            .collect(),
    )
}

fn prefix(mask: *const libc::sockaddr) -> u32 {
    if mask.is_null() {
        return 0;
    }
    match i32::from(unsafe { (*mask).sa_family }) {
        libc::AF_INET => unsafe { (*(mask as *const libc::sockaddr_in)).sin_addr.s_addr.count_ones() },
        libc::AF_INET6 => unsafe { (*(mask as *const libc::sockaddr_in6)).sin6_addr.s6_addr.iter().map(|b| b.count_ones()).sum() },
        _ => 0,
    }
}
