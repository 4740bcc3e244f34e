//! What kind of host this is. No single probe can be trusted, so each one is named with its answer.

use serde::{Deserialize, Serialize};

use super::field;
use super::root::Root;

/// Bare metal, guest or container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtFacts {
    /// The innermost layer that we run in.
    pub kind: HostKind,
    /// The container's technology, where there is one.
    pub container: Option<String>,
    /// The hypervisor, where there is one; a container may run in a guest.
    pub hypervisor: Option<String>,
    /// What the probes saw, for and against.
    pub evidence: Vec<String>,
}

/// Whose settings a host's are: its own, the hypervisor's, or those of the host of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// No layer below us that we could see.
    #[default]
    Bare,
    /// A virtual machine of our own.
    Guest,
    /// A container: the kernel is somebody else's.
    Container,
}

impl VirtFacts {
    pub(super) fn read(root: &Root) -> Self {
        let mut evidence = Vec::new();
        let container = container(root, &mut evidence);
        let hypervisor = hypervisor(root, &mut evidence);
        let kind = match (&container, &hypervisor) {
            (Some(_), _) => HostKind::Container,
            (None, Some(_)) => HostKind::Guest,
            (None, None) => HostKind::Bare,
        };
        Self {
            kind,
            container,
            hypervisor,
            evidence,
        }
    }
}

/// The initial namespaces have fixed numbers in every kernel (`PROC_*_INIT_INO`).
const NAMESPACES: [(&str, &str); 2] = [
    ("pid", "pid:[4026531836]"),
    ("cgroup", "cgroup:[4026531835]"),
];

/// Files that a container engine leaves behind; a root file system may be made of an image too.
const MARKERS: [(&str, &str); 2] = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];

/// Parts of control-group paths that only container engines use.
const GROUPS: [(&str, &str); 6] = [
    ("/kubepods", "kubernetes"),
    ("/docker/", "docker"),
    ("/docker-", "docker"),
    ("/libpod-", "podman"),
    ("/lxc.payload", "lxc"),
    ("/lxc/", "lxc"),
];

fn container(root: &Root, evidence: &mut Vec<String>) -> Option<String> {
    let links = NAMESPACES.map(|(name, initial)| {
        root.link(&format!("/proc/self/ns/{name}"))
            .map(|found| (name, found == initial))
    });
    for (name, initial) in links.iter().flatten() {
        let what = if *initial {
            "the host's own"
        } else {
            "not the host's"
        };
        evidence.push(format!("/proc/self/ns/{name}: {what}"));
    }
    let group = ["/proc/1/cgroup", "/proc/self/cgroup"]
        .into_iter()
        .find_map(|path| {
            let text = root.text(path).ok()?;
            let (part, engine) = GROUPS.into_iter().find(|(part, _)| text.contains(part))?;
            evidence.push(format!("{path}: has {part}"));
            Some(engine)
        });
    let environ = root.text("/proc/1/environ").ok().and_then(|text| {
        let engine = text
            .split('\0')
            .find_map(|word| word.strip_prefix("container="))?;
        evidence.push(format!("/proc/1/environ: container={engine}"));
        Some(engine.to_owned()).filter(|engine| !engine.is_empty())
    });
    let marker = MARKERS
        .into_iter()
        .find(|(path, _)| root.exists(path))
        .map(|(path, engine)| {
            evidence.push(format!("{path}: exists"));
            engine
        });
    // A marker alone proves nothing where the namespaces are the host's: images boot in guests too.
    let foreign = links.iter().flatten().any(|(_, initial)| !initial);
    let unseen = links.iter().all(Option::is_none);
    let contained = foreign || group.is_some() || environ.is_some() || (unseen && marker.is_some());
    contained.then(|| {
        let engine = group.or(marker).map(str::to_owned);
        engine.or(environ).unwrap_or_else(|| "unknown".to_owned())
    })
}

/// DMI strings that only virtual machines have; clouds give their bare machines the same vendor.
const DMI: [(&str, &str); 9] = [
    ("QEMU", "kvm"),
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("Virtual Machine", "hyperv"),
    ("HVM domU", "xen"),
    ("Parallels", "parallels"),
    ("Apple Virtualization", "apple"),
];

/// Clocksources that a guest is offered by its hypervisor.
const CLOCKSOURCES: [(&str, &str); 3] = [
    ("kvm-clock", "kvm"),
    ("hyperv_clocksource", "hyperv"),
    ("xen", "xen"),
];

fn hypervisor(root: &Root, evidence: &mut Vec<String>) -> Option<String> {
    let mut saw = |path: &str, what: &str, name: &str| {
        evidence.push(format!("{path}: {what}"));
        name.to_owned()
    };
    let known = |path: &str, names: &[(&str, &'static str)]| {
        let text = root.text(path).ok()?;
        let &(part, name) = names.iter().find(|(part, _)| text.contains(part))?;
        Some((part.to_owned(), name))
    };
    // The most telling first: what it is called, then only that it is there.
    let mut names = Vec::new();
    for (path, table) in [
        (
            "/sys/firmware/acpi/tables/DSDT",
            [("FIRECK", "firecracker")].as_slice(),
        ),
        ("/sys/class/dmi/id/product_name", &DMI),
        ("/sys/class/dmi/id/sys_vendor", &DMI),
        (
            "/sys/devices/system/clocksource/clocksource0/available_clocksource",
            &CLOCKSOURCES,
        ),
        ("/sys/hypervisor/type", &[("xen", "xen")]),
        (
            "/proc/device-tree/hypervisor/compatible",
            &[("kvm", "kvm"), ("xen", "xen")],
        ),
    ] {
        names
            .extend(known(path, table).map(|(part, name)| saw(path, &format!("has {part}"), name)));
    }
    let cpuinfo = root.text("/proc/cpuinfo").unwrap_or_default();
    let flags = field(&cpuinfo, "flags", ':').unwrap_or_default();
    if flags.split(' ').any(|flag| flag == "hypervisor") {
        names.push(saw("/proc/cpuinfo", "has the flag hypervisor", "unknown"));
    }
    if !root.names("/sys/bus/virtio/devices").is_empty() {
        names.push(saw(
            "/sys/bus/virtio/devices",
            "has virtio devices",
            "unknown",
        ));
    }
    names.into_iter().next()
}
