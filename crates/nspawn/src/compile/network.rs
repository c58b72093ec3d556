//! Networks: which links the machine gets, its ports, and who gives it an address.

use hostel_spec::{
    AddressPool, Cable, Hint, LinkPair, NetworkConfig, NetworkMode, PortForward, VethPair, is_alternative_name, is_interface_name, parse_mac,
};

use super::{Choice, Draft, choose};
use crate::Action;
use crate::error::UsageError;
use crate::options::{OptionId as Id, OptionRow};

const CONFIG: [(&str, NetworkConfig); 4] =
    [("auto", NetworkConfig::Auto), ("none", NetworkConfig::None), ("dhcp", NetworkConfig::Dhcp), ("static", NetworkConfig::Static)];

const NO_NAME: &str = "it is no interface name (1 to 15 characters, no slash, colon or space)";
/// Length of an interface's name.
const NAME_MAX: usize = 15;

impl Draft<'_> {
    /// Every network option but `--network-namespace-path=` gives the machine a network of its own.
    fn private(&mut self) {
        if self.spec.network.mode == NetworkMode::Host {
            self.spec.network.mode = NetworkMode::Private;
        }
    }

    pub(super) fn network_veth(&mut self) {
        self.private();
        self.spec.network.cable.get_or_insert(Cable::Alone);
    }

    pub(super) fn network_veth_extra(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let (host, inside) = value.split_once(':').map_or((value, value), |(host, inside)| (host, if inside.is_empty() { host } else { inside }));
        if !is_interface_name(host) || !is_interface_name(inside) {
            return Err(UsageError::value(row, value, NO_NAME));
        }
        self.private();
        self.spec.network.veth.push(VethPair { host: host.to_owned(), inside: inside.to_owned(), ends: None });
        Ok(())
    }

    pub(super) fn network_bridge(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        if !is_interface_name(value) {
            return Err(UsageError::value(row, value, NO_NAME));
        }
        self.private();
        match &self.spec.network.cable {
            Some(Cable::Zone(_)) => Err(BRIDGE_AND_ZONE),
            _ => {
                self.spec.network.cable = Some(Cable::Bridge(value.to_owned()));
                Ok(())
            }
        }
    }

    pub(super) fn network_zone(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        if value.is_empty() || !is_interface_name(&format!("vz-{value}")) {
            return Err(UsageError::value(row, value, "it is no zone name (1 to 12 characters, no slash, colon or space)"));
        }
        self.private();
        match &self.spec.network.cable {
            Some(Cable::Bridge(_)) => Err(BRIDGE_AND_ZONE),
            _ => {
                self.spec.network.cable = Some(Cable::Zone(value.to_owned()));
                Ok(())
            }
        }
    }

    /// `--network-interface=`, `--network-macvlan=`, `--network-ipvlan=`: HOST[:INSIDE], several with spaces between.
    pub(super) fn network_link(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let prefix = match row.id {
            Id::NetworkMacvlan => "mv-",
            Id::NetworkIpvlan => "iv-",
            _ => "",
        };
        if value.split_ascii_whitespace().next().is_none() {
            return Err(UsageError::value(row, value, "it names no interface"));
        }
        self.private();
        for word in value.split_ascii_whitespace() {
            let (host, inside) = word.split_once(':').map_or((word, None), |(host, inside)| (host, Some(inside)));
            let inside = inside.map_or_else(|| format!("{prefix}{host}"), str::to_owned);
            // What is derived and too long is shortened by the engine, as the original does it.
            let derived = word == host && !prefix.is_empty() && inside.len() > NAME_MAX;
            if !is_alternative_name(host) || !(derived || is_interface_name(&inside)) {
                return Err(UsageError::value(row, value, NO_NAME));
            }
            let network = &mut self.spec.network;
            let list = match row.id {
                Id::NetworkMacvlan => &mut network.macvlan,
                Id::NetworkIpvlan => &mut network.ipvlan,
                _ => &mut network.interfaces,
            };
            list.push(LinkPair { host: host.to_owned(), inside });
        }
        Ok(())
    }

    pub(super) fn network_namespace(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        if value.is_empty() {
            self.spec.network.namespace = None;
            return Ok(());
        }
        if !value.starts_with('/') && !self.env.cwd.is_absolute() {
            return Err(UsageError::value(row, value, "it is relative, and the current directory is gone"));
        }
        self.spec.network.namespace = Some(self.env.cwd.join(value));
        Ok(())
    }

    pub(super) fn port(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        let port = PortForward::parse(value).map_err(|why| UsageError::value(row, value, why))?;
        if self.spec.network.ports.iter().any(|p| (p.transport, p.host) == (port.transport, port.host)) {
            return Err(UsageError::value(row, value, "this port of the host leads somewhere already"));
        }
        self.spec.network.ports.push(port);
        Ok(())
    }

    pub(super) fn network_config(&mut self, row: &OptionRow, value: &str) -> Result<Option<Action>, UsageError> {
        match choose(row, value, &CONFIG)? {
            Choice::Value(config) => self.spec.network.config = config,
            Choice::Help(action) => return Ok(Some(action)),
        }
        Ok(None)
    }

    pub(super) fn network_pool(&mut self, row: &OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.network.pool = Some(AddressPool::parse(value).map_err(|why| UsageError::value(row, value, why))?);
        Ok(())
    }

    pub(super) fn hardware_address(&mut self) -> Result<(), UsageError> {
        const NAME: &str = "SYSTEMD_NSPAWN_NETWORK_MAC";
        let Some(text) = self.env.text(NAME)? else { return Ok(()) };
        if self.spec.network.cable.is_none() {
            return Ok(());
        }
        self.spec.network.mac =
            Some(parse_mac(text).ok_or_else(|| UsageError::variable(NAME, text, "it is no hardware address such as 02:00:00:00:00:01"))?);
        Ok(())
    }

    pub(super) fn decide_network(&mut self) -> Result<(), UsageError> {
        let network = &mut self.spec.network;
        if network.namespace.is_some() {
            if network.has_links() {
                return Err(UsageError::Conflict {
                    first: "--network-namespace-path=",
                    second: "other network options",
                    why: "the links of that network are its owner's",
                });
            }
            network.mode = NetworkMode::Joined;
        }
        if !network.ports.is_empty() && network.mode != NetworkMode::Private {
            return Err(UsageError::Request { what: "forward ports", why: "the machine has no network of its own", hint: Some(Hint::OwnNetwork) });
        }
        Ok(())
    }
}

const BRIDGE_AND_ZONE: UsageError =
    UsageError::Conflict { first: "--network-bridge=", second: "--network-zone=", why: "the cable has one end on the host" };
