//! Network interfaces of a container that runs, and their addresses.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use hostel_sys::netlink::{self, Socket, route};
use hostel_unit::Arrange as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};

fn open_namespace(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).on("open network", path)
}

impl Container {
    fn network(&self) -> Result<OwnedFd> {
        open_namespace(&format!("/proc/{}/ns/net", self.init_pid()?))
    }

    /// A netlink socket of its network.
    fn netlink(&self) -> Result<Socket> {
        netlink::inside(self.network()?.as_fd(), route::open).on("enter network of container", &self.name)
    }

    /// Names of its interfaces, in order.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert!(container.get_interfaces().is_err(), "it does not run");
    /// ```
    pub fn get_interfaces(&self) -> Result<Vec<String>> {
        let links = route::links(&mut self.netlink()?).on("list interfaces of container", &self.name)?;
        let mut names: Vec<String> = links.into_iter().map(|link| link.name).collect();
        names.arrange();
        Ok(names)
    }

    /// Its addresses, in order: of one interface or of all but loopbacks, of one family (`inet`, `inet6`) or both. Of IPv6 those of
    /// a scope: 0 is global, as LXC counts.
    pub fn get_ips(&self, interface: Option<&str>, family: Option<&str>, scope: u32) -> Result<Vec<String>> {
        const VERB: &str = "list addresses of container";
        let mut socket = self.netlink()?;
        let links = route::links(&mut socket).on(VERB, &self.name)?;
        let wanted = |index: u32| links.iter().any(|link| link.index == index && interface.map_or(!link.loopback, |name| link.name == name));
        let mut all: Vec<IpAddr> = route::addresses(&mut socket)
            .on(VERB, &self.name)?
            .into_iter()
            .filter(|one| wanted(one.index) && family.is_none_or(|family| (family == "inet6") == one.address.is_ipv6()))
            .filter(|one| one.address.is_ipv4() || one.global == (scope == 0))
            .map(|one| one.address)
            .collect();
        all.arrange();
        Ok(all.iter().map(IpAddr::to_string).collect())
    }

    /// Moves the interface `name` of the host into it, as `new_name` there.
    ///
    /// ```no_run
    /// hostel_container::Container::new("web", None)?.attach_interface("eth1", None)?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn attach_interface(&self, name: &str, new_name: Option<&str>) -> Result<()> {
        move_link(&mut route::open().on("open", "netlink")?, name, self.network()?, new_name.unwrap_or(name))
    }

    /// Moves one of its interfaces to the caller's network.
    pub fn detach_interface(&self, name: &str, new_name: Option<&str>) -> Result<()> {
        let own = open_namespace("/proc/thread-self/ns/net")?;
        move_link(&mut self.netlink()?, name, own, new_name.unwrap_or(name))
    }
}

fn move_link(socket: &mut Socket, name: &str, to: OwnedFd, new_name: &str) -> Result<()> {
    const VERB: &str = "move interface";
    let link = route::link(socket, name).on(VERB, name)?.ok_or(Errno::NODEV).on(VERB, name)?;
    socket.ask(route::move_to(link.index, to.as_fd(), new_name)).on(VERB, name)
}
