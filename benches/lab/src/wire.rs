//! The few messages of etcd's v3 API that are needed, with the field numbers of its published protocol.
//!
//! Fields that are not read are left out; protobuf skips what it does not know.

use prost::{Message, Oneof};

/// A transaction: if all comparisons hold, `success`, else `failure`.
#[derive(Clone, PartialEq, Message)]
pub struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
}

/// Compares the revision in which a key was created; 0 is a key that does not exist.
#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    /// 0 is `EQUAL`.
    #[prost(int32, tag = "1")]
    pub result: i32,
    /// 1 is `CREATE`.
    #[prost(int32, tag = "2")]
    pub target: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    #[prost(oneof = "CompareTo", tags = "5")]
    pub to: Option<CompareTo>,
}

/// What is compared with.
#[derive(Clone, PartialEq, Oneof)]
pub enum CompareTo {
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct RequestOp {
    #[prost(oneof = "Request", tags = "2")]
    pub request: Option<Request>,
}

/// Which operation.
#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    #[prost(message, tag = "2")]
    Put(PutRequest),
}

/// Puts a value under a key.
#[derive(Clone, PartialEq, Message)]
pub struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// What came of a transaction.
#[derive(Clone, PartialEq, Message)]
pub struct TxnResponse {
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
}

/// Asks a node about itself.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {}

/// What a node says about itself.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The member that leads; 0 if none does.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
}

/// Who answers.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
}

/// "The slot `key` is free: give it to `holder`", as one transaction.
pub fn take_slot(key: Vec<u8>, holder: &[u8]) -> TxnRequest {
    let put = PutRequest { key: key.clone(), value: holder.to_vec() };
    TxnRequest {
        compare: vec![Compare { result: 0, target: 1, key, to: Some(CompareTo::CreateRevision(0)) }],
        success: vec![RequestOp { request: Some(Request::Put(put)) }],
    }
}
