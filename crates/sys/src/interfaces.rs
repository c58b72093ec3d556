//! The network interfaces of the current network namespace and their addresses (getifaddrs(3)).

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The interface is the loopback.
    pub loopback: bool,
    /// The interface is up.
    pub up: bool,
}

/// Every IPv4 and IPv6 address of the calling thread's network namespace, in the kernel's order.
pub fn addresses() -> io::Result<Vec<Address>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is valid for writing; what is stored there is freed below.
    if unsafe { libc::getifaddrs(&mut list) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut out = Vec::new();
    let mut at = list;
    // SAFETY: a list of entries linked by ifa_next, which stays valid until freeifaddrs.
    while let Some(entry) = unsafe { at.as_ref() } {
        out.extend(address_of(entry));
        at = entry.ifa_next;
    }
    // SAFETY: from getifaddrs, freed once.
    unsafe { libc::freeifaddrs(list) };
    Ok(out)
}

fn address_of(entry: &libc::ifaddrs) -> Option<Address> {
    // SAFETY: a null pointer or a socket address.
    let family = unsafe { entry.ifa_addr.as_ref() }?.sa_family;
    let address = match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in; read without assuming its alignment.
            let found = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            IpAddr::V4(Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, a sockaddr_in6.
            let found = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            IpAddr::V6(Ipv6Addr::from(found.sin6_addr.s6_addr))
        }
        _ => return None,
    };
    // SAFETY: a NUL-terminated name that lives as long as the list.
    let interface = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
    let has = |flag: libc::c_int| entry.ifa_flags & flag as libc::c_uint != 0;
    Some(Address { interface, address, loopback: has(libc::IFF_LOOPBACK), up: has(libc::IFF_UP) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_an_address() {
        let found = addresses().unwrap();
        assert!(found.iter().all(|a| !a.interface.is_empty()));
        let local = found.iter().find(|a| a.address == IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(local.is_none_or(|a| a.loopback && a.interface == "lo"), "{local:?}");
    }
}
