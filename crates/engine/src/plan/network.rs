//! The machine's interfaces and addresses.

use hostel_image::names::{self, MacUse};
use hostel_spec::{Cable, Ephemeral, MachineUuid, NetworkConfig, NetworkMode, Payload, ResolvConf, TreeSource, VethEnds, Volatile};

use super::Builder;
use super::steps::{BondStep, HostStep, PayloadStep};
use crate::error::{Error, Result};
use crate::network::lease::AddressChoice;
use crate::network::wire::{CablePlan, UpperKind, UpperPlan, Wiring};
use crate::network::{NetworkPlan, serving_link};

impl Builder<'_> {
    pub(super) fn network(&mut self) -> Result<()> {
        let network = &self.spec.network;
        let addressed = network.mode == NetworkMode::Private && network.is_addressed() && !self.networkd_serves();
        let wiring = self.wiring(addressed)?;
        if addressed {
            self.host.push(HostStep::TakeAddress(AddressChoice {
                zone: wiring.zone.clone(),
                link: serving_link(&wiring).unwrap_or_default(),
                pool: network.pool,
                keep: self.stays(),
                host: self.host_facts.machine_id,
            }));
        }
        if let Some(name) = network.name.clone().filter(|_| network.mode == NetworkMode::Private) {
            self.bond.push(BondStep::NameNetwork(name));
        }
        if network.has_links() {
            self.bond.push(BondStep::Wire(Box::new(wiring.clone())));
        }
        self.network = NetworkPlan {
            wiring,
            addressed,
            dhcp: addressed && self.asks_by_dhcp(),
            ports: network.ports.clone(),
            by: if self.networkd_serves() { "networkd" } else { "none" },
        };
        Ok(())
    }

    fn networkd_serves(&self) -> bool {
        self.spec.network.config == NetworkConfig::Auto && self.host_facts.networkd
    }

    /// Whether the machine is there again tomorrow.
    fn stays(&self) -> bool {
        let root = &self.spec.root;
        root.upper.is_some() || (root.ephemeral == Ephemeral::No && root.tree != TreeSource::Host)
    }

    /// A booted system sets its interface up itself, and so does a program that is called like an init: the start
    /// scripts of NixOS containers are none by any other sign.
    fn asks_by_dhcp(&self) -> bool {
        let program = self.spec.process.argv.first().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        match self.spec.network.config {
            NetworkConfig::Dhcp => true,
            NetworkConfig::Static | NetworkConfig::None => false,
            NetworkConfig::Auto => self.spec.payload == Payload::Boot || name.ends_with("init") || name == "systemd",
        }
    }

    fn wiring(&mut self, addressed: bool) -> Result<Wiring> {
        let network = &self.spec.network;
        let name = self.name.as_str();
        let id = if network.cable.is_some() || !network.veth.is_empty() || !network.macvlan.is_empty() { Some(self.host_id()?) } else { None };
        let id = id.as_ref();
        let mac = |usage, index: usize| id.map_or([0; 6], |id| names::mac(usage, id, name, index as u64));
        let prefix = if matches!(network.cable, Some(Cable::Alone)) { "ve-" } else { "vb-" };
        let end = names::host_end(prefix, name);
        let cable = network.cable.as_ref().map(|_| CablePlan {
            host: end.name,
            altname: end.alternative,
            host_mac: mac(MacUse::Host, 0),
            inside: "host0".to_owned(),
            inside_mac: network.mac.unwrap_or_else(|| mac(MacUse::Container, 0)),
            ends: None,
        });
        let extra = network.veth.iter().enumerate().map(|(index, pair)| CablePlan {
            host: pair.host.clone(),
            altname: None,
            host_mac: mac(MacUse::ExtraHost, index),
            inside: pair.inside.clone(),
            inside_mac: match &pair.ends {
                Some(VethEnds { mac: Some(mac), .. }) => *mac,
                // Another with each start; of an interface, and locally administered.
                Some(VethEnds { random: true, .. }) => std::array::from_fn(|i| match i {
                    0 => self.caller.random[index % 11] & 0xfc | 2,
                    5 => self.caller.random[15].wrapping_add(index as u8),
                    i => self.caller.random[i],
                }),
                _ => mac(MacUse::ExtraContainer, index),
            },
            ends: pair.ends.clone(),
        });
        // A derived name that is too long is shortened as that of a cable.
        let upper = |pair: &hostel_spec::LinkPair, kind| UpperPlan { lower: pair.host.clone(), inside: names::host_end("", &pair.inside).name, kind };
        let macvlan = network.macvlan.iter().enumerate().map(|(index, pair)| upper(pair, UpperKind::Macvlan(mac(MacUse::Macvlan, index))));
        let ipvlan = network.ipvlan.iter().map(|pair| upper(pair, UpperKind::Ipvlan));
        let vlan = network.vlan.iter().map(|(pair, id)| upper(pair, UpperKind::Vlan(*id)));
        let (bridge, zone) = match &network.cable {
            Some(Cable::Bridge(bridge)) => (Some(bridge.clone()), None),
            Some(Cable::Zone(zone)) => (Some(format!("vz-{zone}")), Some(zone.clone())),
            _ => (None, None),
        };
        Ok(Wiring {
            cable,
            up: addressed || bridge.is_some(),
            bridge,
            zone,
            extra: extra.collect(),
            upper: macvlan.chain(ipvlan).chain(vlan).collect(),
            interfaces: network.interfaces.clone(),
            with_addresses: self.spec.bundle.is_some(),
            inside: network.inside.clone(),
            host: network.host.clone(),
        })
    }

    fn host_id(&self) -> Result<MachineUuid> {
        self.host_facts.machine_id.ok_or_else(|| {
            Error::new("make", "hardware address", "the host has no /etc/machine-id")
                .hint("create one: systemd-machine-id-setup, dbus-uuidgen --ensure=/etc/machine-id, or 32 hexadecimal digits by hand")
        })
    }

    /// The resolver file of a machine whose name server we are.
    pub(super) fn own_resolver(&mut self) -> bool {
        let root = &self.spec.root;
        if !self.network.addressed || self.spec.integration.resolv_conf != ResolvConf::Auto {
            return false;
        }
        if self.tree.own.resolver {
            return true;
        }
        let throw_away =
            root.tree == TreeSource::Host || root.ephemeral != Ephemeral::No || matches!(root.volatile, Volatile::Overlay | Volatile::Yes);
        // A booted system may manage a link in its own way; a command has nobody who would.
        self.payload.push(PayloadStep::Resolver { replace: throw_away && !self.network.dhcp });
        true
    }

    /// The payload's last step before it executes its program.
    pub(super) fn await_network(&mut self) {
        if self.network.addressed || !self.network.ports.is_empty() {
            self.payload.push(PayloadStep::Network((self.network.addressed && !self.network.dhcp).then(|| "host0".to_owned())));
        }
    }
}
