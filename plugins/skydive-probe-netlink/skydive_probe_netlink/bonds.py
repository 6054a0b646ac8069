"""The tables of bonds and of their slaves; see ``kinds``."""

from __future__ import annotations

from typing import Final

from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.kinds import Document, Field

# linux/if_bonding.h; the words are those of Documentation/networking/bonding.rst
_MODES: Final = dict(
    enumerate(
        ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"), start=0
    )
)
_VALIDATE: Final = dict(
    enumerate(("none", "active", "backup", "all", "filter", "filter_active", "filter_backup"), start=0)
)
_HASH: Final = dict(enumerate(("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"), start=0))

BOND_MODE: Final = Document("", (Field("BondMode", "IFLA_BOND_MODE", 1, a.one_of(a.u8, _MODES)),))
BOND: Final = Document(
    "Bond",
    (
        Field("ActiveSlave", "IFLA_BOND_ACTIVE_SLAVE", 2, a.u32, "ifindex"),
        Field("MiiMon", "IFLA_BOND_MIIMON", 3, a.u32, "ms"),
        Field("UpDelay", "IFLA_BOND_UPDELAY", 4, a.u32, "ms"),
        Field("DownDelay", "IFLA_BOND_DOWNDELAY", 5, a.u32, "ms"),
        Field("UseCarrier", "IFLA_BOND_USE_CARRIER", 6, a.boolean),
        Field("ArpInterval", "IFLA_BOND_ARP_INTERVAL", 7, a.u32, "ms"),
        Field("ArpTargets", "IFLA_BOND_ARP_IP_TARGET", 8, a.each(a.ip)),
        Field("ArpValidate", "IFLA_BOND_ARP_VALIDATE", 9, a.one_of(a.u32, _VALIDATE)),
        Field("ArpAllTargets", "IFLA_BOND_ARP_ALL_TARGETS", 10, a.one_of(a.u32, {0: "any", 1: "all"})),
        Field("Primary", "IFLA_BOND_PRIMARY", 11, a.u32, "ifindex"),
        Field(
            "PrimaryReselect",
            "IFLA_BOND_PRIMARY_RESELECT",
            12,
            a.one_of(a.u8, {0: "always", 1: "better", 2: "failure"}),
        ),
        Field("FailOverMAC", "IFLA_BOND_FAIL_OVER_MAC", 13, a.one_of(a.u8, {0: "none", 1: "active", 2: "follow"})),
        Field("XmitHashPolicy", "IFLA_BOND_XMIT_HASH_POLICY", 14, a.one_of(a.u8, _HASH)),
        Field("ResendIGMP", "IFLA_BOND_RESEND_IGMP", 15, a.u32, "reports"),
        Field("PeerNotifications", "IFLA_BOND_NUM_PEER_NOTIF", 16, a.u8),
        Field("AllSlavesActive", "IFLA_BOND_ALL_SLAVES_ACTIVE", 17, a.boolean),
        Field("MinLinks", "IFLA_BOND_MIN_LINKS", 18, a.u32),
        Field("LearnPacketInterval", "IFLA_BOND_LP_INTERVAL", 19, a.u32, "s"),
        Field("PacketsPerSlave", "IFLA_BOND_PACKETS_PER_SLAVE", 20, a.u32),
        Field("LacpRate", "IFLA_BOND_AD_LACP_RATE", 21, a.one_of(a.u8, {0: "slow", 1: "fast"})),
        Field("LacpActive", "IFLA_BOND_AD_LACP_ACTIVE", 29, a.boolean),
        Field("AdSelect", "IFLA_BOND_AD_SELECT", 22, a.one_of(a.u8, {0: "stable", 1: "bandwidth", 2: "count"})),
        Field(
            "AdInfo",
            "IFLA_BOND_AD_INFO",
            23,
            a.nested(
                {
                    1: ("AggregatorId", a.u16),
                    2: ("Ports", a.u16),
                    3: ("ActorKey", a.u16),
                    4: ("PartnerKey", a.u16),
                    5: ("PartnerMAC", a.mac),
                }
            ),
        ),
        Field("AdActorSystemPriority", "IFLA_BOND_AD_ACTOR_SYS_PRIO", 24, a.u16),
        Field("AdUserPortKey", "IFLA_BOND_AD_USER_PORT_KEY", 25, a.u16),
        Field("AdActorSystem", "IFLA_BOND_AD_ACTOR_SYSTEM", 26, a.mac),
        Field("DynamicLoadBalancing", "IFLA_BOND_TLB_DYNAMIC_LB", 27, a.boolean),
        Field("PeerNotifyDelay", "IFLA_BOND_PEER_NOTIF_DELAY", 28, a.u32, "ms"),
        Field("MissedMax", "IFLA_BOND_MISSED_MAX", 30, a.u8),
        Field("NsTargets", "IFLA_BOND_NS_IP6_TARGET", 31, a.each(a.ip)),
    ),
)

BOND_SLAVE: Final = Document(
    "BondSlave",
    (
        Field("State", "IFLA_BOND_SLAVE_STATE", 1, a.one_of(a.u8, {0: "ACTIVE", 1: "BACKUP"})),
        Field(
            "MiiStatus",
            "IFLA_BOND_SLAVE_MII_STATUS",
            2,
            a.one_of(a.u8, {0: "UP", 1: "GOING_DOWN", 2: "DOWN", 3: "GOING_BACK"}),
        ),
        Field("LinkFailureCount", "IFLA_BOND_SLAVE_LINK_FAILURE_COUNT", 3, a.u32, zero=True),
        Field("PermMAC", "IFLA_BOND_SLAVE_PERM_HWADDR", 4, a.mac),
        Field("QueueId", "IFLA_BOND_SLAVE_QUEUE_ID", 5, a.u16, zero=True),
        Field("AggregatorId", "IFLA_BOND_SLAVE_AD_AGGREGATOR_ID", 6, a.u16, zero=True),
        Field("AdActorOperPortState", "IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE", 7, a.u8, zero=True),
        Field("AdPartnerOperPortState", "IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE", 8, a.u16, zero=True),
        Field("Priority", "IFLA_BOND_SLAVE_PRIO", 9, a.s32),
    ),
    (("Type", "bond"),),
)
