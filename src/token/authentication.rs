//! How and when the person was authenticated (`acr`, `auth_time`), for step-up (RFC 9470).

use std::time::Duration;

use serde_json::{Map, Value};

use super::claims;
use super::member;
use super::trust::Issuer;
use crate::model::authentication::Demand;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// What the token says of the person's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    acr: Option<Box<str>>,
    time: Option<Timestamp>,
}

impl Authentication {
    /// Reads the claims of a verified payload (RFC 9068 §2.2.1).
    pub fn read(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Self, Denial> {
        Ok(Self {
            acr: claims::text(payload, member::ACR, 255)?,
            time: claims::date(payload, member::AUTH_TIME, issuer)?,
        })
    }

    /// Whether this is what an operation demands at `now` (RFC 9470 §4). What the token does not say, it
    /// does not show; an authentication in the future shows nothing either.
    pub fn check(&self, demand: &Demand, leeway: Duration, now: Timestamp) -> Result<(), Denial> {
        let accepted = |acr: &str| demand.acr_values.iter().any(|value| **value == *acr);
        if !demand.acr_values.is_empty() && !self.acr.as_deref().is_some_and(accepted) {
            return Err(Denial::about(Reason::AuthenticationInsufficient, member::ACR));
        }
        let is_recent = |longest: Duration| {
            self.time.is_some_and(|time| time.before(leeway) <= now && now.since(time) <= longest)
        };
        match demand.max_age {
            Some(longest) if !is_recent(longest) => {
                Err(Denial::about(Reason::AuthenticationInsufficient, member::AUTH_TIME))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r_ver_029_authentication_is_of_an_accepted_kind_and_recent() {
        let now = Timestamp::from_seconds(1_000_000);
        let demand = Demand {
            acr_values: vec!["gold".into(), "silver".into()],
            max_age: Some(Duration::from_mins(5)),
        };
        for (claims, about) in [
            (json!({"acr": "gold", "auth_time": 999_700}), None),
            (json!({"acr": "silver", "auth_time": 1_000_030}), None),
            (json!({"acr": "gold", "auth_time": 999_699}), Some("auth_time")),
            (json!({"acr": "gold", "auth_time": 1_000_031}), Some("auth_time")),
            (json!({"acr": "gold"}), Some("auth_time")),
            (json!({"acr": "Gold", "auth_time": 999_900}), Some("acr")),
            (json!({"acr": "gold silver", "auth_time": 999_900}), Some("acr")),
            (json!({"auth_time": 999_900}), Some("acr")),
        ] {
            let payload = claims.as_object().unwrap();
            let read = Authentication::read(payload, &Issuer::named("x")).unwrap();
            let checked = read.check(&demand, Duration::from_secs(30), now);
            assert_eq!(checked.err().and_then(|denial| denial.about), about, "{claims}");
            assert_eq!(read.check(&Demand::default(), Duration::ZERO, now), Ok(()));
        }
        let bad = json!({"auth_time": "yesterday"});
        assert!(Authentication::read(bad.as_object().unwrap(), &Issuer::named("x")).is_err());
    }
}
