//! Makes logs longer and changes nothing.

use std::time::Duration;

use etcd_client::{CompareOp, Error, Txn, TxnOp};

use super::{Clients, KEYS};

/// 5 s: a member that does not answer by then is as good as gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A megabyte in the log that changes nothing.
pub(super) async fn burn(clients: &mut Clients, member: usize) -> Result<(), Error> {
    let mut client = clients.of(member).await?;
    let never = etcd_client::Compare::version(KEYS, CompareOp::Less, 0);
    let put = TxnOp::put(KEYS, vec![0; 1_000_000], None);
    let ask = client.txn(Txn::new().when([never]).and_then([put]));
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(done) => done.map(|_| ()),
        Err(_) => Err(Error::WatchError("no answer".to_owned())),
    }
}
