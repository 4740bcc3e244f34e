//! Protocol versions, the two eras they fall into, and negotiation.

/// How requests of a version are framed by the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize`, then a session: up to 2025-11-25.
    Legacy,
    /// Stateless, `_meta` on each request: from 2026-07-28.
    Modern,
}

/// A protocol version that this node implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28
    V2026_07_28,
}

/// Versions negotiated by `initialize`, oldest first.
pub const LEGACY: &[Version] = &[
    Version::V2024_11_05,
    Version::V2025_03_26,
    Version::V2025_06_18,
    Version::V2025_11_25,
];

/// Versions that `server/discover` lists.
pub const MODERN: &[Version] = &[Version::V2026_07_28];

impl Version {
    /// The date that names it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era it belongs to.
    pub fn era(self) -> Era {
        if MODERN.contains(&self) {
            Era::Modern
        } else {
            Era::Legacy
        }
    }

    /// The legacy version that answers `requested`: that one, or else the latest.
    // [mcp:init-version]
    pub fn negotiate(requested: &str) -> Self {
        Self::find(LEGACY, requested.as_bytes()).unwrap_or(Self::V2025_11_25)
    }

    /// The version of `among` called `name`.
    pub(crate) fn find(among: &[Self], name: &[u8]) -> Option<Self> {
        among
            .iter()
            .copied()
            .find(|version| version.as_str().as_bytes() == name)
    }
}

impl Era {
    /// The era of a message: modern if its `_meta` names a version, or if the header names
    /// anything but a legacy one.
    // [mcp:http-version-bad]
    pub fn of(header: Option<&[u8]>, meta_names_version: bool) -> Self {
        let modern_header = header.is_some_and(|name| Version::find(LEGACY, name).is_none());
        if meta_names_version || modern_header {
            Self::Modern
        } else {
            Self::Legacy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_answers_in_kind_or_with_the_latest() {
        for version in LEGACY {
            assert_eq!(Version::negotiate(version.as_str()), *version);
            assert_eq!(version.era(), Era::Legacy);
        }
        assert_eq!(Version::negotiate("2026-07-28"), Version::V2025_11_25);
        assert_eq!(Version::negotiate("v999"), Version::V2025_11_25);
    }

    #[test]
    fn era_follows_meta_then_header() {
        assert_eq!(Era::of(None, false), Era::Legacy);
        assert_eq!(Era::of(Some(b"2025-11-25"), false), Era::Legacy);
        assert_eq!(Era::of(Some(b"2025-11-25"), true), Era::Modern);
        assert_eq!(Era::of(Some(b"2026-07-28"), false), Era::Modern);
        assert_eq!(Era::of(Some(b"v999.0.0"), false), Era::Modern);
        assert_eq!(Era::of(Some(b""), false), Era::Modern);
    }
}
