//! Which serializer a client speaks: the `vsn` of its connection.

/// A serializer of Phoenix's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    /// Objects; text only.
    V1,
    /// Arrays of five, and binary messages.
    V2,
}

/// Picks the serializer that a connection's `vsn` asks for: `~> 1.0.0` or `~> 2.0.0`.
///
/// `None` stands for an absent parameter, which means V1, as it did before there was a choice;
/// `Some(None)` for one that is a list or a map. Versions are strict SemVer: `2.0` is none, and
/// `2.0.0-rc.1` comes before `2.0.0`, while `2.0.1-rc.1` comes after it.
pub(crate) fn negotiate(vsn: Option<Option<&str>>) -> Result<Version, VersionError> {
    let Some(vsn) = vsn else { return Ok(Version::V1) };
    let text = vsn.ok_or(VersionError::NotAString)?;
    let vsn = semver::Version::parse(text).map_err(|_| VersionError::Invalid(text.into()))?;
    match (vsn.major, vsn.minor) {
        (1, 0) if vsn >= semver::Version::new(1, 0, 0) => Ok(Version::V1),
        (2, 0) if vsn >= semver::Version::new(2, 0, 0) => Ok(Version::V2),
        _ => Err(VersionError::Unsupported(text.into())),
    }
}

/// Why no serializer fits; the texts are those that Phoenix logs.
///
/// What the client sent is quoted with escapes, so that it cannot write log lines of its own.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum VersionError {
    /// A version, but neither of the two.
    #[error(
        "The client's requested transport version {0:?} does not match server's version \
         requirements of [\"~> 1.0.0\", \"~> 2.0.0\"]"
    )]
    Unsupported(String),
    /// Not a version.
    #[error("Client sent invalid transport version {0:?}")]
    Invalid(String),
    /// A list or a map.
    #[error("Client sent invalid transport version: not a string")]
    NotAString,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_vsn_is_the_first_version() {
        assert_eq!(negotiate(None), Ok(Version::V1));
    }

    #[test]
    fn patches_and_builds_of_both_versions_match() {
        for vsn in ["1.0.0", "1.0.5", "1.0.0+build", "1.0.1-rc.1"] {
            assert_eq!(negotiate(Some(Some(vsn))), Ok(Version::V1), "{vsn}");
        }
        for vsn in ["2.0.0", "2.0.1", "2.0.99", "2.0.0+build", "2.0.1-rc.1"] {
            assert_eq!(negotiate(Some(Some(vsn))), Ok(Version::V2), "{vsn}");
        }
    }

    #[test]
    fn other_versions_match_nothing() {
        for vsn in
            ["1.1.0", "2.1.0", "3.0.0", "0.9.0", "1.0.0-0", "2.0.0-rc.1", "2.1.0-rc.1", "123.1.1"]
        {
            let error = negotiate(Some(Some(vsn))).unwrap_err();
            assert_eq!(error, VersionError::Unsupported(vsn.into()));
        }
    }

    #[test]
    fn what_is_not_strict_semver_is_invalid() {
        for vsn in ["2", "2.0", "v2.0.0", "02.0.0", " 2.0.0", "2.0.0 ", "", "abc", "2.0.0\n"] {
            let error = negotiate(Some(Some(vsn))).unwrap_err();
            assert_eq!(error, VersionError::Invalid(vsn.into()));
        }
        assert_eq!(negotiate(Some(None)), Err(VersionError::NotAString));
    }

    #[test]
    fn errors_begin_as_phoenix_logs_them_and_quote_the_client() {
        let text = |vsn| negotiate(Some(Some(vsn))).unwrap_err().to_string();
        assert_eq!(
            text("123.1.1"),
            "The client's requested transport version \"123.1.1\" does not match server's version \
             requirements of [\"~> 1.0.0\", \"~> 2.0.0\"]",
        );
        assert_eq!(text("abc"), "Client sent invalid transport version \"abc\"");
        assert_eq!(text("a\nb"), "Client sent invalid transport version \"a\\nb\"");
    }
}
