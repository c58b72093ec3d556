//! A machine's network: its links, its address, and what serves it while it runs.
//!
//! ```text
//!  host step   take an address                                              lease, pool
//!  bond step   links, in one send; the host's addresses                     wire
//!     "go" ──► the payload sets up its mounts, and meanwhile:
//!              forwarding, translation, DHCP, names, ports                  forwarding, firewall, service
//!     "go" ──► the payload sets up its interface and executes its program   inside
//!  event loop  answers DHCP, routers wanted and DNS, carries localhost      service → dhcp, ipv6, names → dns, carrier
//!  end         table, rules, forwarding, address, empty bridge              each of them
//! ```
//!
//! There is no daemon: each supervisor serves its own machine, at an address that no other supervisor has.

pub(crate) mod carrier;
pub mod dhcp;
pub mod dns;
mod ends;
pub(crate) mod firewall;
pub(crate) mod forwarding;
pub mod hosts;
mod ifupdown;
pub(crate) mod inside;
pub mod ipv6;
pub mod lease;
pub mod look;
mod names;
pub mod pool;
pub mod service;
pub mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_spec::{MachineName, PortForward};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, io_text};
use crate::registry::{Claim, Undo};
use firewall::{Firewall, Translation};
use ipv6::Network6;
use lease::AddressChoice;
use pool::Addressing;
use service::{Needs, Services};
use wire::{Wires, Wiring};

/// What a plan says of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Links.
    pub wiring: Wiring,
    /// Hostel gives the machine its address.
    pub addressed: bool,
    /// The machine asks for it by DHCP; else its interface is set up.
    pub dhcp: bool,
    /// Forwarded ports.
    pub ports: Vec<PortForward>,
    /// Whose task addresses are when not ours: `networkd`, `none`.
    pub by: &'static str,
}

/// What a machine's state file says of its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// The interface on the host.
    #[serde(default)]
    pub link: Option<String>,
    /// The zone it is in.
    #[serde(default)]
    pub zone: Option<String>,
    /// The address it has from us.
    #[serde(default)]
    pub address: Option<std::net::Ipv4Addr>,
    /// Prefix length of its network.
    #[serde(default)]
    pub prefix: Option<u8>,
    /// Its IPv6 network, a /64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network6: Option<std::net::Ipv6Addr>,
    /// Its router and name server.
    #[serde(default)]
    pub router: Option<std::net::Ipv4Addr>,
    /// Who gives it addresses: `hostel`, `networkd`, `none`.
    #[serde(default)]
    pub by: String,
    /// Forwarded ports.
    #[serde(default)]
    pub ports: Vec<PortForward>,
}

/// What was made for a machine's network. Taken away by [`Made::end_of_life`] and [`Made::take_down`].
#[derive(Debug, Default)]
pub struct Made {
    /// The machine's address.
    pub addressing: Option<Addressing>,
    /// What could not be had, for people.
    pub notices: Vec<String>,
    /// What serves the machine.
    services: Option<Services>,
    file: Option<PathBuf>,
    wires: Wires,
    firewall: Option<Firewall>,
    forwarding: Vec<forwarding::Hold>,
    root: PathBuf,
}

impl Made {
    /// Takes an address, unless a former life has.
    pub(crate) fn take_address(&mut self, choice: &AddressChoice, claim: &mut Claim) -> Result<()> {
        if self.addressing.is_none() {
            let taken = lease::take(choice, claim)?;
            self.file = Some(taken.file);
            self.addressing = Some(taken.addressing);
        }
        Ok(())
    }

    /// Makes the links.
    pub(crate) fn wire(&mut self, wiring: &Wiring, netns: OwnedFd, claim: &mut Claim) -> Result<()> {
        self.root = claim.root().to_owned();
        wire::connect(wiring, self.addressing.as_ref(), claim, netns, &mut self.wires)?;
        ifupdown::raise(wiring, &mut self.wires.raised, &mut self.notices);
        if let (Some(why), Some(addressing)) = (self.wires.without_ipv6.take(), &mut self.addressing) {
            addressing.six = None;
            self.notices.push(format!("the machine has no IPv6 address: {why}"));
        }
        Ok(())
    }

    /// Forwarding, translation and services: while the payload is busy with its mounts.
    pub(crate) fn serve(&mut self, plan: &NetworkPlan, hostname: &str, netns: OwnedFd, claim: &mut Claim) -> Result<()> {
        let name = claim.name().clone();
        let link = serving_link(&plan.wiring).unwrap_or_default();
        if self.addressing.is_none() && plan.ports.is_empty() {
            return Ok(());
        }
        let needs = Needs {
            name: &name,
            hostname,
            link: &link,
            addressing: self.addressing.as_ref(),
            mac: plan.wiring.cable.as_ref().map_or([0; 6], |c| c.inside_mac),
            dhcp: plan.dhcp,
            ports: &plan.ports,
            netns: netns.as_fd(),
            root: claim.root(),
        };
        let (mut services, notices) = Services::open(&needs).map_err(|e| Error::new("open", "network services", io_text(&e)))?;
        self.notices.extend(notices);
        if self.addressing.is_some() {
            self.forward(&link, claim);
        }
        self.translate(plan, &link, &name, claim)?;
        services.lead(&mut self.firewall);
        self.services = Some(services);
        Ok(())
    }

    fn forward(&mut self, link: &str, claim: &mut Claim) {
        let mut tell = |what: &str, e: &std::io::Error| self.notices.push(format!("forwarding is off on {what}: {}", io_text(e)));
        if let Err(e) = forwarding::own(link) {
            tell(link, &e);
        }
        let six = self.addressing.as_ref().and_then(|a| a.six);
        if six.is_some()
            && let Err(e) = ipv6::hear_no_router(link)
        {
            tell(link, &e);
        }
        if !self.forwarding.is_empty() {
            return;
        }
        for what in look::uplinks().unwrap_or_default() {
            match forwarding::hold(&what, claim) {
                Ok(hold) => self.forwarding.extend(hold),
                Err(e) => tell(&what, &e),
            }
        }
    }

    /// IPv6 is forwarded as a whole: only once the table is there that drops what is no machine's.
    fn translate6(&mut self, firewall: &mut Firewall, six: &Network6, claim: &mut Claim) {
        let only_ours = six.world && forwarding::is_ours(forwarding::IPV6_ALL, claim.root()).unwrap_or(true);
        if let Err(e) = firewall.translate6(six, only_ours) {
            return self
                .notices
                .push(format!("the machine does not reach beyond this host by IPv6, and is not shielded from there: nftables: {}", io_text(&e)));
        }
        for what in if six.world { forwarding::of_ipv6() } else { Vec::new() } {
            match forwarding::hold(&what, claim) {
                Ok(hold) => self.forwarding.extend(hold),
                Err(e) => {
                    // An interface that does not go on hearing routers would lose its route.
                    return self.notices.push(format!("forwarding is off on {what}: {}", io_text(&e)));
                }
            }
        }
    }

    fn translate(&mut self, plan: &NetworkPlan, link: &str, name: &MachineName, claim: &mut Claim) -> Result<()> {
        let failed = |e: std::io::Error| Error::new("make", format!("nftables table hostel-{name}"), io_text(&e));
        if self.firewall.is_some() {
            return Ok(());
        }
        claim.journal(&Undo::Firewall { machine: name.clone() })?;
        let mut firewall = Firewall::open(name).map_err(failed)?;
        let made = match &self.addressing {
            Some(a) => firewall.translate(&Translation { name, address: a.address, block: Some(a.block()), ports: &plan.ports }),
            None => Ok(()),
        };
        match made {
            Ok(()) => {}
            // The machine is reached, and reaches its host and its zone, without.
            Err(e) if plan.ports.is_empty() => self.notices.push(format!("the machine does not reach beyond this host: nftables: {}", io_text(&e))),
            Err(e) => return Err(failed(e).hint("the kernel needs nf_tables with nat, masquerade and fib to forward ports")),
        }
        if let Some(six) = self.addressing.as_ref().and_then(|a| a.six) {
            self.translate6(&mut firewall, &six, claim);
        }
        if self.addressing.is_some() {
            let refused = firewall.pass(link).unwrap_or_default();
            if !refused.is_empty() {
                self.notices.push(format!("chains of the host's firewall drop what the machine sends: {}", refused.join(", ")));
            }
            self.notices.extend(firewall::legacy_notice(link));
        }
        self.firewall = Some(firewall);
        Ok(())
    }

    /// What the event loop watches.
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }

    /// Something of the services is ready, or their time has come.
    pub fn turn(&mut self) {
        if let Some(services) = &mut self.services {
            services.turn(&mut self.firewall);
        }
    }

    /// PID 1 is dead; the machine may start again.
    pub(crate) fn end_of_life(&mut self) -> Vec<Error> {
        self.services = None;
        self.wires.bring_back()
    }

    /// The machine has ended: everything goes.
    pub(crate) fn take_down(&mut self) -> Vec<Error> {
        self.services = None;
        // As they were switched on: advertisements are heard for as long as the host forwards, and it does not without the table.
        self.forwarding.drain(..).rev().for_each(forwarding::Hold::release);
        let socket = self.firewall.take().map(Firewall::remove);
        let failed = self.wires.disconnect();
        let zone = self.wires.zone();
        if socket.is_some() || zone.is_some() {
            wire::later(zone, socket, &self.root);
        }
        wire::forget_file(self.file.take());
        self.addressing = None;
        failed
    }
}

/// The interface on the host with the router's address: the zone's bridge, or the cable's end.
pub(crate) fn serving_link(wiring: &Wiring) -> Option<String> {
    wiring.zone.as_ref().and(wiring.bridge.clone()).or_else(|| wiring.cable.as_ref().map(|c| c.host.clone()))
}

/// The state file's part.
pub(crate) fn state_of(plan: &NetworkPlan, made: &Made) -> NetworkState {
    let addressing = made.addressing.as_ref();
    NetworkState {
        link: plan.wiring.cable.as_ref().map(|c| c.host.clone()),
        zone: plan.wiring.zone.clone(),
        address: addressing.map(|a| a.address),
        prefix: addressing.map(|a| a.prefix),
        network6: addressing.and_then(|a| a.six).map(|six| six.network),
        router: addressing.map(|a| a.router),
        by: if plan.addressed { "hostel" } else { plan.by }.to_owned(),
        ports: plan.ports.clone(),
    }
}

/// Whether systemd-networkd gives addresses on links like this one: it runs, and has a file for them.
pub(crate) fn networkd_serves(zone: bool) -> bool {
    let file = if zone { "80-container-vz.network" } else { "80-container-ve.network" };
    // PID 1 keeps this link while the unit runs.
    if std::fs::symlink_metadata("/run/systemd/units/invocation:systemd-networkd.service").is_err() {
        return false;
    }
    let places = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map(|top| Path::new(top).join("systemd/network").join(file));
    // The first one found counts; an empty one, or a link to /dev/null, masks it.
    places.iter().find_map(|p| std::fs::metadata(p).ok()).is_some_and(|m| m.is_file() && m.len() > 0)
}
