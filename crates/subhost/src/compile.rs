//! A conf file becomes a MachineSpec.

use std::path::Path;

use hostel_spec::{
    BindOptions, BindUsers, Cable, CapName, CapSet, ConsoleMode, Ephemeral, HostUnit, Identity, ImageOptions, Integration, Layers, Lifecycle, Limit,
    MachineSpec, Mount, MountSource, Namespaces, Network, NetworkMode, Ownership, Payload, ProcessSpec, Resources, Root, Security, Signal,
    SyscallFilter, TreeSource, UpperLayer, UserNamespace, VethPair, Volatile,
};

use crate::conf::{Conf, Lower, Net, RunSize, Upper};
use crate::{Error, Start};

/// Most processes of a subhost, unless told otherwise: as for every machine of hostel's.
const TASKS_MAX: u64 = 16384;
/// What services have no use for, and root without a user namespace could do harm with: they are root on the host.
const SPARE: CapSet = CapSet::of(&[CapName::SYS_ADMIN, CapName::DAC_READ_SEARCH, CapName::MKNOD]);
/// What a thrown-away upper layer may hold, unless told otherwise.
const TMPFS: &str = "50%";

/// How the root comes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assembly {
    /// LOWER is LIVE: that tree, as it is; it may have been mounted there by somebody.
    Premounted,
    /// LOWER is UPPER: that tree, as it is.
    Bound,
    /// An overlay that stays.
    Overlay,
    /// An overlay whose upper layer is thrown away.
    Ephemeral,
}

impl Conf {
    /// The only lower directory, if there is one.
    fn lower_directory(&self) -> Option<&Path> {
        match &self.lower {
            Lower::Directories(list) if list.len() == 1 => list.first().map(AsRef::as_ref),
            _ => None,
        }
    }

    /// Which of the four cases it is.
    pub fn assembly(&self) -> Assembly {
        match (self.lower_directory(), &self.upper) {
            (Some(lower), _) if lower == self.live => Assembly::Premounted,
            (Some(lower), Upper::Path(upper, _)) if lower == upper => Assembly::Bound,
            (_, Upper::Path(..)) => Assembly::Overlay,
            (_, Upper::Tmpfs(_)) => Assembly::Ephemeral,
        }
    }

    /// The machine. `script`: what INIT printed. UPPER has to be a directory by now, WORK known, and a partition mounted.
    pub fn spec(&self, script: Option<&str>) -> Result<MachineSpec, Error> {
        let assembly = self.assembly();
        let root = self.root(assembly)?;
        let boots = matches!(self.start, Start::Init(_));
        let user = if self.userns { UserNamespace::Pick } else { UserNamespace::Host };
        let (payload, process) = self.process(script);
        Ok(MachineSpec {
            identity: Identity { name: Some(self.name.clone()), hostname: self.hostname.clone(), uuid: None, container: Some("hostel".into()) },
            root,
            payload,
            process,
            namespaces: Namespaces { user, ownership: Ownership::Map, nested_user: self.userns.then_some(0), ..Namespaces::default() },
            network: self.network(),
            security: Security {
                bounding: self.bounding(boots),
                added: self.caps,
                adjust_net_caps: false,
                dropped: self.dropped,
                syscalls: SyscallFilter::Machine(Vec::new()),
                api_writable: false,
                suppress_sync: false,
                address_families: None,
                selinux_files: None,
            },
            mounts: self.shares(),
            resources: Resources {
                memory_max: self.memory,
                cpu_quota: self.cpus,
                tasks_max: self.pids.or(Some(Limit::Value(TASKS_MAX))),
                tasks_max_is_default: self.pids.is_none(),
                ..Resources::default()
            },
            console: ConsoleMode::Passive,
            integration: Integration::default(),
            bind_users: BindUsers::default(),
            credentials: Vec::new(),
            lifecycle: Lifecycle {
                kill_signal: self.stop_signal.or((!boots).then_some(Signal::TERM)),
                notify_ready: !boots,
                stop_timeout: self.stop_timeout,
                ..Lifecycle::default()
            },
            unit: HostUnit::default(),
            notices: Vec::new(),
            bundle: None,
        })
    }

    fn root(&self, assembly: Assembly) -> Result<Root, Error> {
        let refuse = |variable, why: &str| Err(Error { line: 0, variable, why: why.into() });
        let (tree, over) = match &self.lower {
            Lower::Image(file, ..) => (TreeSource::Image(file.clone()), Vec::new()),
            Lower::Directories(list) => {
                let (over, tree) = list.split_at(list.len().saturating_sub(1));
                let tree = tree.first().cloned().unwrap_or_else(|| "/".into());
                (if tree == Path::new("/") { TreeSource::Host } else { TreeSource::Directory(tree) }, over.to_vec())
            }
        };
        let plain = matches!(assembly, Assembly::Premounted | Assembly::Bound);
        if plain && tree == TreeSource::Host {
            return refuse("LOWER", "/ cannot be run as it is, only below an overlay: give another UPPER or LIVE");
        }
        if plain && self.hygiene {
            return refuse("HYGIENE", "there is no overlay that could cover anything (LOWER is LIVE or UPPER): HYGIENE=no covers nothing");
        }
        let upper = match &self.upper {
            Upper::Tmpfs(size) => UpperLayer::Tmpfs(size.clone().unwrap_or_else(|| TMPFS.into())),
            Upper::Path(upper, _) => {
                UpperLayer::Kept { work: self.work.clone().unwrap_or_else(|| self.base.join("work")), upper: upper.clone(), parts: self.base.clone() }
            }
        };
        Ok(Root {
            tree,
            template: None,
            read_only: false,
            volatile: Volatile::No,
            ephemeral: Ephemeral::No,
            upper: None,
            keep_tmp: false,
            skip_os_release_check: true,
            unlocked: false,
            layers: (!plain).then_some(Layers { over, upper, hygiene: self.hygiene }),
            post_mount: None,
            run_size: match &self.run_size {
                RunSize::Usual => None,
                RunSize::Size(size) => Some(size.clone()),
            },
            pivot: None,
            image: ImageOptions::default(),
        })
    }

    fn process(&self, script: Option<&str>) -> (Payload, ProcessSpec) {
        let words = |list: &[String]| list.iter().map(|w| w.as_str().into()).collect();
        let mut process = ProcessSpec::default();
        match (&self.start, script) {
            (Start::Init(argv), _) => {
                process.init = argv.first().map(Into::into);
                process.argv = words(argv.get(1..).unwrap_or_default());
                return (Payload::Boot, process);
            }
            (_, Some(script)) => process.argv = vec!["".into(), script.into()],
            (Start::Services(list), None) => process.argv = words(list),
        }
        (Payload::Services, process)
    }

    fn bounding(&self, boots: bool) -> CapSet {
        let spare = match (self.userns, boots) {
            (true, _) => CapSet::EMPTY,
            // An init mounts.
            (false, true) => SPARE.without(CapSet::of(&[CapName::SYS_ADMIN])),
            (false, false) => SPARE,
        };
        let network = if self.net == Net::Host { CapSet::of(&[CapName::NET_ADMIN]) } else { CapSet::EMPTY };
        CapSet::MACHINE.without(spare).without(network).or(self.caps)
    }

    fn network(&self) -> Network {
        let name = Some(self.name.as_str().to_owned());
        match &self.net {
            Net::Host => Network::default(),
            Net::Nat => Network { name, ..Network::with_cable(Cable::Alone) },
            Net::Cables(wires) => {
                let veth = wires.iter().enumerate().map(|(n, wire)| VethPair {
                    host: format!("{}{n}", self.name),
                    inside: format!("eth{n}"),
                    ends: Some(wire.clone()),
                });
                Network { mode: NetworkMode::Private, name, veth: veth.collect(), ..Network::default() }
            }
        }
    }

    /// Those that are the lower tree itself are left out, as with overlay-boot.
    fn shares(&self) -> Vec<Mount> {
        let shares = self.share.iter().filter(|share| self.lower_directory() != Some(&share.host));
        shares
            .map(|share| Mount::Bind {
                source: MountSource::Host(share.host.clone()),
                target: share.inside.clone(),
                read_only: share.read_only,
                options: BindOptions::default(),
            })
            .collect()
    }
}
