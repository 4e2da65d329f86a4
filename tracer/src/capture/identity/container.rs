//! Containers and units, by the names that their makers give to cgroups.

use crate::model::Container;

/// Beginnings of the name of a scope, as systemd's cgroup driver makes it: `docker-ID.scope`.
const SCOPES: [(&str, &str); 5] = [
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("docker-", "docker"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
];

/// Folders whose entries are containers, as the cgroupfs driver makes them: `/docker/ID`.
const FOLDERS: [(&str, &str); 2] = [("docker", "docker"), ("lxc", "lxc")];

/// The container, from `/proc/PID/cgroup`. The lines of all hierarchies count: version 1 has the
/// container's path in each controller's.
pub(super) fn container(cgroups: &str) -> Option<Container> {
    paths(cgroups).find_map(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        let pod = parts.iter().find_map(|part| pod_uid(part)).unwrap_or_default();
        // The innermost is the one the process is in.
        (0..parts.len()).rev().find_map(|index| {
            let above = index.checked_sub(1).map_or("", |above| parts[above]);
            let (runtime, id) = named(above, parts[index], !pod.is_empty())?;
            Some(Container { runtime: runtime.to_owned(), id: id.to_owned(), pod: pod.clone() })
        })
    })
}

/// The innermost systemd service or scope that is no container.
pub(super) fn unit(cgroups: &str) -> String {
    let unit = |path: &str| {
        path.split('/').rev().find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned)
    };
    paths(cgroups).find_map(unit).unwrap_or_default()
}

/// The path is behind the second colon (`cgroups(7)`).
fn paths(cgroups: &str) -> impl Iterator<Item = &str> {
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

fn named<'p>(above: &str, part: &'p str, in_pod: bool) -> Option<(&'static str, &'p str)> {
    if let Some(scope) = part.strip_suffix(".scope") {
        let of_runtime = SCOPES.iter().find_map(|(prefix, runtime)| Some((*runtime, scope.strip_prefix(prefix)?)));
        return of_runtime
            .filter(|(_, id)| is_id(id))
            .or_else(|| scope.strip_prefix("machine-").map(|name| ("machine", name)));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(("lxc", name));
    }
    let folder = FOLDERS.iter().find(|(folder, _)| above == *folder).map(|&(_, runtime)| (runtime, part));
    folder
        .filter(|(runtime, id)| if *runtime == "docker" { is_id(id) } else { !id.is_empty() })
        .or_else(|| (in_pod && is_id(part)).then_some(("kubernetes", part)))
}

/// Ids of containers are 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `podUID`, or `kubepods-burstable-podUID.slice` with the dashes of the uid as underscores.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match name.strip_prefix("kubepods") {
        Some(rest) => rest.rsplit_once("-pod").map(|(_, uid)| uid)?,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    (uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a9c0d1e4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1";
    const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    /// Runtime, id and pod of the container with this cgroup, in one text; empty if none.
    fn found(path: &str) -> String {
        container(&format!(
            "0::{path}
"
        ))
        .map(|found| [found.runtime, found.id, found.pod].join(" "))
        .unwrap_or_default()
    }

    fn is(runtime: &str, id: &str, pod: &str) -> String {
        [runtime, id, pod].join(" ")
    }

    #[test]
    fn the_paths_of_the_usual_runtimes() {
        assert_eq!(found(&format!("/system.slice/docker-{ID}.scope")), is("docker", ID, ""));
        assert_eq!(found(&format!("/docker/{ID}/init.scope")), is("docker", ID, ""));
        assert_eq!(found(&format!("/machine.slice/libpod-{ID}.scope/container")), is("podman", ID, ""));
        assert_eq!(found("/lxc.payload.web1/system.slice/nginx.service"), is("lxc", "web1", ""));
        assert_eq!(found("/lxc/web1"), is("lxc", "web1", ""));
        assert_eq!(found("/machine.slice/machine-deb12.scope/payload"), is("machine", "deb12", ""));
        let uid = UID.replace('-', "_");
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
        assert_eq!(found(&format!("{slice}/cri-containerd-{ID}.scope")), is("containerd", ID, UID));
        assert_eq!(found(&format!("{slice}/crio-{ID}.scope")), is("cri-o", ID, UID));
        assert_eq!(found(&format!("/kubepods/burstable/pod{UID}/{ID}")), is("kubernetes", ID, UID));
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for path in [
            "/",
            "/system.slice/docker.service",
            "/system.slice/docker-cleanup.scope",
            "/docker/tools",
            "/user.slice/user-0.slice/session-1.scope",
            "/system.slice/podsync.service",
        ] {
            assert_eq!(found(path), "", "{path}");
        }
    }

    #[test]
    fn version_1_has_it_in_a_controllers_line() {
        let text =
            format!("12:cpuset:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n");
        assert_eq!(container(&text).map(|found| found.id).as_deref(), Some(ID));
    }

    #[test]
    fn the_innermost_unit() {
        assert_eq!(unit("0::/system.slice/storagenode.service\n"), "storagenode.service");
        assert_eq!(unit("0::/user.slice/user@0.service/app.slice/x.scope/inner\n"), "x.scope");
        assert_eq!(unit("0::/\n"), "");
    }
}
