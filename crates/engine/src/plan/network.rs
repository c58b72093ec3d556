//! The machine's interfaces.

use hostel_image::names::{self, MacUse};

use super::Builder;
use super::steps::BondStep;
use crate::error::{Error, Result};

impl Builder<'_> {
    pub(super) fn network(&mut self) -> Result<()> {
        for (index, pair) in self.spec.network.veth.iter().enumerate() {
            let id = self.host_facts.machine_id.ok_or_else(|| {
                Error::new("make", "hardware address", "the host has no /etc/machine-id")
                    .hint("create one: systemd-machine-id-setup, dbus-uuidgen --ensure=/etc/machine-id, or 32 hexadecimal digits by hand")
            })?;
            let (host, altname) = match &pair.host {
                Some(name) => (name.clone(), None),
                None => {
                    let end = names::host_end("ve-", self.name.as_str());
                    (end.name, end.alternative)
                }
            };
            let mac = |usage| Some(names::mac(usage, &id, self.name.as_str(), index as u64));
            self.bond.push(BondStep::AddVeth {
                host,
                altname,
                host_mac: mac(MacUse::Host),
                inside: pair.inside.clone(),
                inside_mac: mac(MacUse::Container),
            });
        }
        Ok(())
    }
}
