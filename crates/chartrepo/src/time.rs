use jiff::Timestamp;

/// A moment as Go writes it into JSON: what was given, without needless zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    text: String,
    at: Timestamp,
}

impl Default for Time {
    /// Go's time that was never set.
    fn default() -> Self {
        Self { text: "0001-01-01T00:00:00Z".to_owned(), at: Timestamp::MIN }
    }
}

impl Time {
    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if bytes.len() < 20 || separators.iter().any(|(at, wanted)| bytes.get(*at) != Some(wanted)) {
            return None;
        }
        if text == Self::default().text {
            return Some(Self::default());
        }
        let at: Timestamp = text.parse().ok()?;
        let (seconds, rest) = text.split_at_checked(19)?;
        let zone_at = rest.find(['Z', '+', '-'])?;
        let (fraction, zone) = rest.split_at(zone_at);
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        let zone = if matches!(zone, "+00:00" | "-00:00") { "Z" } else { zone };
        Some(Self { text: format!("{seconds}{fraction}{zone}"), at })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn timestamp(&self) -> Timestamp {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let written = |text: &str| Time::parse(text).map(|time| time.text);
        assert_eq!(written("2024-05-01T10:00:00.120000000Z").as_deref(), Some("2024-05-01T10:00:00.12Z"));
        assert_eq!(written("2024-05-01T10:00:00.000000000+02:00").as_deref(), Some("2024-05-01T10:00:00+02:00"));
        assert_eq!(written("2024-05-01T10:00:00+00:00").as_deref(), Some("2024-05-01T10:00:00Z"));
        assert_eq!(written("0001-01-01T00:00:00Z").as_deref(), Some("0001-01-01T00:00:00Z"));
        for bad in ["", "yesterday", "2024-05-01", "2024-05-01 10:00:00Z", "2024-13-01T10:00:00Z"] {
            assert_eq!(written(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_never_set_is_before_everything() {
        assert!(Time::default().timestamp() < Time::parse("2000-01-01T00:00:00Z").unwrap_or_default().timestamp());
    }
}
