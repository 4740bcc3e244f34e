//! How a setting is put right: files to write, parameters of the kernel, directives of a unit.

use crate::check::Context;
use crate::facts::{CpuList, Root, chosen, cpu_mask};

/// How a setting is changed.
#[derive(Debug)]
pub enum Change {
    /// By writing these files; their prior bytes undo it.
    Files(&'static [Target]),
    /// By parameters of the kernel's command line; it takes a reboot.
    Boot(Answer),
    /// By a directive of the node's unit, in force when the unit starts next.
    Unit(Answer),
    /// By a person: the remedy says how.
    Person,
}

/// What a host is to be given, which may depend on it; none when it gives no answer.
#[derive(Debug)]
pub struct Answer(pub(crate) fn(&Context<'_>) -> Option<String>);

impl Change {
    pub(super) const fn boot(parameters: fn(&Context<'_>) -> Option<String>) -> Self {
        Self::Boot(Answer(parameters))
    }

    pub(super) const fn unit(directive: fn(&Context<'_>) -> Option<String>) -> Self {
        Self::Unit(Answer(directive))
    }
}

/// A file of the kernel's, or many of them, and what they should hold.
#[derive(Debug)]
pub struct Target {
    /// The path; a `*` stands for whatever names the host has there.
    pub path: &'static str,
    /// How the kernel spells the value.
    pub form: Form,
    /// Whether the kernel may refuse single files, which then stay as they are.
    pub may_refuse: bool,
    /// What to write; none when this host gives no answer.
    pub(crate) value: fn(&Context<'_>) -> Option<String>,
}

/// How the kernel spells a value, and so when two spellings say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Words or numbers; of `always [madvise] never` the marked one.
    Word,
    /// A CPU list such as `0-3,8`.
    Cpus,
    /// A hexadecimal CPU mask such as `ff,ffffffff`.
    Mask,
}

impl Target {
    pub(crate) const fn word(
        path: &'static str,
        value: fn(&Context<'_>) -> Option<String>,
    ) -> Self {
        Self {
            path,
            form: Form::Word,
            may_refuse: false,
            value,
        }
    }

    pub(crate) const fn cpus(
        path: &'static str,
        value: fn(&Context<'_>) -> Option<String>,
    ) -> Self {
        Self {
            form: Form::Cpus,
            ..Self::word(path, value)
        }
    }

    pub(crate) const fn mask(
        path: &'static str,
        value: fn(&Context<'_>) -> Option<String>,
    ) -> Self {
        Self {
            form: Form::Mask,
            ..Self::word(path, value)
        }
    }

    /// The files below `root` that the path stands for; without a `*` the path itself.
    pub(crate) fn files(&self, root: &Root) -> Vec<String> {
        let mut paths = vec![String::new()];
        for part in self.path.trim_start_matches('/').split('/') {
            paths = match part.split_once('*') {
                None => paths.iter().map(|path| format!("{path}/{part}")).collect(),
                Some((head, tail)) => paths
                    .iter()
                    .flat_map(|path| {
                        let fits = |name: &String| {
                            name.len() >= head.len() + tail.len()
                                && name.starts_with(head)
                                && name.ends_with(tail)
                        };
                        let names = root.names(path).into_iter().filter(fits);
                        names
                            .map(|name| format!("{path}/{name}"))
                            .collect::<Vec<_>>()
                    })
                    .collect(),
            };
        }
        if self.path.contains('*') {
            paths.retain(|path| root.exists(path));
        }
        paths
    }
}

impl Form {
    /// One spelling for all that mean the same.
    pub(crate) fn canonical(self, text: &str) -> String {
        let word = || {
            let words: Vec<_> = text.split_whitespace().collect();
            chosen(text).unwrap_or_else(|| words.join(" "))
        };
        match self {
            Self::Word => word(),
            Self::Cpus => match text.parse::<CpuList>() {
                Ok(cpus) => cpus.to_string(),
                Err(_) => word(),
            },
            Self::Mask => match cpu_mask(text) {
                Some(cpus) => mask_of(&cpus),
                None => word(),
            },
        }
    }
}

impl Form {
    /// Whether a file that holds `found` may stay as it is where `wanted` is wanted: of CPUs, some
    /// of those that are wanted will do.
    pub(crate) fn suffices(self, found: &str, wanted: &str) -> bool {
        let cpus = |text: &str| match self {
            Self::Word => None,
            Self::Cpus => text.parse::<CpuList>().ok(),
            Self::Mask => cpu_mask(text),
        };
        match (cpus(found), cpus(wanted)) {
            (Some(found), Some(wanted)) => {
                !found.is_empty() && found.difference(&wanted).is_empty()
            }
            _ => self.canonical(found) == self.canonical(wanted),
        }
    }
}

/// The value of a target that is the same on every host.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where others depend on the host"
)]
pub(super) fn to(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// The mask of `cpus` as the kernel takes it: words of 32 bits, highest first.
pub(super) fn mask_of(cpus: &CpuList) -> String {
    let top = cpus.iter().next_back().unwrap_or(0) / 32;
    let word = |index: u32| {
        let bits = cpus.iter().filter(|cpu| cpu / 32 == index);
        bits.fold(0u32, |word, cpu| word | 1 << (cpu % 32))
    };
    let words = (0..=top).rev().map(|index| match index == top {
        true => format!("{:x}", word(index)),
        false => format!("{:08x}", word(index)),
    });
    words.collect::<Vec<_>>().join(",")
}

/// The name that `sysctl` gives the file at `path`; none for files of other trees.
pub fn sysctl_name(path: &str) -> Option<String> {
    let name = path.strip_prefix("/proc/sys/")?;
    // A dot within a part, as in names of VLANs, needs the other spelling.
    Some(match name.contains('.') {
        true => name.to_owned(),
        false => name.replace('/', "."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_mean_the_same_are_one() {
        for (form, text, canonical) in [
            (Form::Word, "always [madvise] never\n", "madvise"),
            (Form::Word, "1024\t65535\n", "1024 65535"),
            (Form::Word, "", ""),
            (Form::Cpus, "0,1,2\n", "0-2"),
            (Form::Cpus, "all", "all"),
            (Form::Mask, "00000000,0000000f\n", "f"),
            (Form::Mask, "ff,00000001", "ff,00000001"),
            (Form::Mask, "zz", "zz"),
        ] {
            assert_eq!(form.canonical(text), canonical, "{text:?}");
        }
    }

    #[test]
    fn masks_are_words_of_32_bits() {
        let mask = |cpus: &str| mask_of(&cpus.parse().unwrap());
        assert_eq!(mask("0-3"), "f");
        assert_eq!(mask("0,32"), "1,00000001");
        assert_eq!(mask("64"), "1,00000000,00000000");
        assert_eq!(mask(""), "0");
    }

    #[test]
    fn sysctls_are_named_as_sysctl_names_them() {
        let name = |path: &str| sysctl_name(path);
        assert_eq!(
            name("/proc/sys/vm/swappiness").as_deref(),
            Some("vm.swappiness")
        );
        assert_eq!(
            name("/proc/sys/net/ipv4/conf/eth0.1/rp_filter").as_deref(),
            Some("net/ipv4/conf/eth0.1/rp_filter")
        );
        assert_eq!(name("/sys/kernel/mm/ksm/run"), None);
    }
}
