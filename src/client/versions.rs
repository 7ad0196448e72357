//! Which version of each API a connection speaks: the highest that both sides know.

use crate::client::ClientError;
use crate::wire::ApiVersion;
use crate::wire::messages::{ApiVersionsResponse, KafkaRequest};

/// What a broker offers, from its ApiVersions answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// (API key, lowest, highest), sorted by key.
    offered: Vec<(i16, i16, i16)>,
}

impl Versions {
    /// Reads the table of an answer.
    pub fn of(answer: &ApiVersionsResponse) -> Self {
        let entry = |k: &crate::wire::messages::api_versions_response::ApiVersion| {
            (k.api_key, k.min_version, k.max_version)
        };
        let mut offered: Vec<_> = answer.api_keys.iter().map(entry).collect();
        offered.sort_unstable();
        Self { offered }
    }

    /// Lowest and highest version of `key`, when the broker has the API at all.
    pub fn offered(&self, key: i16) -> Option<(i16, i16)> {
        let at = self.offered.binary_search_by_key(&key, |e| e.0).ok()?;
        Some((self.offered[at].1, self.offered[at].2))
    }

    /// The highest stable version of `R` that both sides know and that is not above `version_max`.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`].
    pub fn pick<R: KafkaRequest>(&self, version_max: i16) -> Result<i16, ClientError> {
        let ours_min = R::SUPPORTED_VERSIONS.min().value();
        let stable = R::API_DESCRIPTOR.latest_stable_version().map_or(ours_min, ApiVersion::value);
        let ours_max = stable.min(version_max);
        let offered = self.offered(R::API_KEY.value());
        if let Some((min, max)) = offered {
            let highest = max.min(ours_max);
            if highest >= min.max(ours_min) {
                return Ok(highest);
            }
        }
        let theirs = match offered {
            Some((min, max)) => format!("offers {min} to {max}"),
            None => "does not offer it".to_owned(),
        };
        Err(ClientError::Unsupported { api: api_name::<R>(), ours_min, ours_max, theirs })
    }
}

/// Name of the API of a request, as Kafka's protocol page has it: `Fetch`, not `FetchRequest`.
pub fn api_name<R: KafkaRequest>() -> &'static str {
    R::NAME.strip_suffix("Request").unwrap_or(R::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg;
    use crate::wire::messages::api_versions_response::ApiVersion as Offer;
    use crate::wire::messages::{FetchRequest, InitProducerIdRequest, ProduceRequest};

    fn offer(entries: &[(i16, i16, i16)]) -> Versions {
        let key = |&(api_key, min_version, max_version): &(i16, i16, i16)| {
            msg!(Offer { api_key, min_version, max_version })
        };
        Versions::of(&msg!(ApiVersionsResponse { api_keys: entries.iter().map(key).collect() }))
    }

    #[test]
    fn the_highest_common_version_is_picked() {
        let versions = offer(&[(1, 4, 16), (0, 0, 99)]);
        assert_eq!(versions.pick::<FetchRequest>(i16::MAX).unwrap(), 16);
        assert_eq!(versions.pick::<FetchRequest>(12).unwrap(), 12);
        assert_eq!(versions.pick::<ProduceRequest>(i16::MAX).unwrap(), 13);
    }

    #[test]
    fn a_version_that_is_not_stable_is_never_picked() {
        assert_eq!(offer(&[(22, 0, 6)]).pick::<InitProducerIdRequest>(i16::MAX).unwrap(), 5);
    }

    #[test]
    fn no_common_version_names_both_ranges() {
        let text = |v: Versions| v.pick::<FetchRequest>(12).unwrap_err().to_string();
        let wants = "Fetch: this client speaks versions 4 to 12, the broker ";
        assert_eq!(text(offer(&[(1, 13, 18)])), format!("{wants}offers 13 to 18"));
        assert_eq!(text(offer(&[(1, 0, 3)])), format!("{wants}offers 0 to 3"));
        assert_eq!(text(offer(&[])), format!("{wants}does not offer it"));
    }
}
