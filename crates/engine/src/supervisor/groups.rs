//! The machine's cgroup, and where it is: on its own, in a unit of the host's systemd, below the path that a bundle gives.

use std::path::Path;

use hostel_process::r#become::Program;
use hostel_spec::{Hint, Resources};
use rustix::fs::{Gid, Uid};

use super::launch::record;
use super::prepare::Made;
use crate::cgroup::{self, CgroupError, Layout, MachineCgroup};
use crate::error::{Error, Result};
use crate::peers;
use crate::plan::Plan;
use crate::registry::{Claim, Undo};

/// Most cgroups an init may make below its own.
const MAX_GROUPS: u32 = 4096;

/// A scope that nobody asked for by name is not worth a machine: its cgroup is then where it is on other hosts.
pub(super) fn make_scope(plan: &Plan, slice: &str, demanded: bool, made: &mut Made) -> Result<()> {
    match peers::make_scope(&plan.name, slice, &plan.spec.resources) {
        Ok(unit) => made.unit = Some(unit),
        Err(error) if demanded => return Err(error),
        Err(error) => made.notices.push(format!("the machine is in no unit of systemd's: {error}")),
    }
    Ok(())
}

/// The groups that a bundle wants its machine's in; each is removed at the end unless others use it by then.
pub(super) fn cgroup_path(path: &Path, plan: &Plan, layout: &Layout, claim: &mut Claim, made: &mut Made) -> Result<Layout> {
    cgroup::descend(layout, path, &plan.spec.resources, &mut |dir| {
        record(claim, Undo::EmptyCgroup { path: dir.as_os_str().into() })?;
        made.groups.push(dir.to_owned());
        Ok(())
    })
}

pub(super) fn make_cgroup(plan: &Plan, layout: &Layout, claim: &mut Claim, made: &mut Made) -> Result<()> {
    // Not ours if somebody lives in it (a machine of another state directory): then it must not come into our journal.
    let in_use = |group: &MachineCgroup| group.procs().is_ok_and(|members| !members.is_empty());
    if MachineCgroup::open(layout, &plan.name).is_ok_and(|group| in_use(&group)) {
        let error = Error::new("make", format!("cgroup of machine {}", plan.name), "a machine of that name that is registered elsewhere lives in it");
        return Err(error.busy().hint(Hint::GiveOtherName));
    }
    for path in cgroup::planned_paths(layout, &plan.name, &plan.spec.resources) {
        record(claim, Undo::Cgroup { path: path.into_os_string().into() })?;
    }
    // A guest's init manages groups of its own; a bound keeps it from filling the kernel with them.
    let boots = plan.program == Program::Init;
    let options = cgroup::Options { delegate_controllers: boots, max_groups: boots.then_some(MAX_GROUPS), ..Default::default() };
    let resources = &plan.spec.resources;
    let cgroup = match MachineCgroup::create(layout, &plan.name, resources, options) {
        // Nobody asked for this limit, and in a machine of ours there may be no controller for it: its own bounds this one.
        Err(CgroupError::Unsupported { option: "TasksMax=", .. }) if resources.tasks_max_is_default => {
            let without = Resources { tasks_max: None, ..resources.clone() };
            MachineCgroup::create(layout, &plan.name, &without, options)
        }
        other => other,
    }?;
    if made.base() != 0 {
        cgroup.delegate(Uid::from_raw(made.base()), Gid::from_raw(made.base())).map_err(Error::from)?;
    }
    made.cgroup = Some(cgroup);
    Ok(())
}
