//! `Maintenance.Downgrade`: whether the cluster could be taken back to an earlier version of etcd's.
//!
//! The question is answered by etcd's rules. There is no earlier layout of this store to go back to, so a downgrade
//! is never begun; the way to an earlier etcd is a snapshot, which that etcd restores.

use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::downgrade_request::DowngradeAction;
use tonic::Status;

use super::errors::{self, ApiError, status};
use super::translate;
use crate::call::Call;
use crate::handle::Consistency;
use crate::version;

/// Major and minor number of a version; a downgrade knows no patch levels.
type Release = (u64, u64);

pub(crate) async fn downgrade(
    call: Call,
    request: pb::DowngradeRequest,
) -> Result<pb::DowngradeResponse, Status> {
    match DowngradeAction::try_from(request.action) {
        Ok(DowngradeAction::Validate) => validate(&request.version)?,
        Ok(DowngradeAction::Enable) => {
            validate(&request.version)?;
            return Err(errors::no_downgrade());
        }
        Ok(DowngradeAction::Cancel) => return Err(ApiError::NoInflightDowngrade.into()),
        Err(_) => return Err(errors::unknown_action()),
    }
    // A member without a leader does not know what version the cluster has.
    let answer = call.handle().members(Consistency::Linearizable).await;
    let header = translate::header(answer.map_err(status)?.header);
    Ok(pb::DowngradeResponse {
        header: Some(header),
        version: version::CLUSTER_VERSION.to_owned(),
    })
}

/// Whether `target` is one minor version below the cluster's.
fn validate(target: &str) -> Result<(), ApiError> {
    let target = release(target).ok_or(ApiError::WrongDowngradeVersionFormat)?;
    let allowed = release(version::CLUSTER_VERSION)
        .and_then(|(major, minor)| Some((major, minor.checked_sub(1)?)));
    if allowed == Some(target) {
        Ok(())
    } else {
        Err(ApiError::InvalidDowngradeTarget)
    }
}

/// Reads `3.6` or `3.6.1`, the latter with whatever semantic versions may carry behind it.
fn release(version: &str) -> Option<Release> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let mut parts = version.splitn(3, '.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    if let Some(patch) = parts.next() {
        number(patch.split(['-', '+']).next()?)?;
    }
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_could_go_back_one_minor_version() {
        use ApiError::{InvalidDowngradeTarget as Invalid, WrongDowngradeVersionFormat as Form};
        for (target, wanted) in [
            ("3.6.0", Ok(())),
            ("3.6", Ok(())),
            ("3.6.5-rc.1+x", Ok(())),
            ("3.7.0", Err(Invalid)),
            ("3.8.0", Err(Invalid)),
            ("3.5.0", Err(Invalid)),
            ("2.6.0", Err(Invalid)),
            ("", Err(Form)),
            ("3", Err(Form)),
            ("v3.6.0", Err(Form)),
            ("3.x", Err(Form)),
            ("3.6.", Err(Form)),
            ("3.6.0.0", Err(Form)),
            ("+3.6", Err(Form)),
            ("99999999999999999999.6", Err(Form)),
        ] {
            assert_eq!(validate(target), wanted, "{target:?}");
        }
    }
}
