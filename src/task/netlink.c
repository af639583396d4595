/* netlink.c - see netlink.h. Formats: Linux manual pages netlink(7), rtnetlink(7); linux/if_link.h. */
#include "task/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct message {
	union {
		struct nlmsghdr head;
		char bytes[1024];
	};
};

int netlink_open(struct error *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd < 0 ? error_errno(err, errno, "open a netlink socket") : fd;
}

/* A message with `body` behind the header. */
static void begin(struct message *m, int type, int flags, const void *body, size_t size)
{
	memset(m, 0, sizeof(*m));
	m->head.nlmsg_type = (uint16_t)type;
	m->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	m->head.nlmsg_len = NLMSG_LENGTH(size);
	memcpy(NLMSG_DATA(&m->head), body, size);
}

/* Appends an attribute; size 0 and data NULL opens a nest that end_nest closes. */
static struct rtattr *put(struct message *m, int type, const void *data, size_t size)
{
	size_t at = NLMSG_ALIGN(m->head.nlmsg_len);
	if (at + RTA_SPACE(size) > sizeof(*m))
		BUG("netlink message too long");
	struct rtattr *a = (struct rtattr *)(m->bytes + at);
	a->rta_type = (uint16_t)type;
	a->rta_len = (uint16_t)RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(a), data, size);
	m->head.nlmsg_len = (uint32_t)(at + RTA_ALIGN(a->rta_len));
	return a;
}

static void end_nest(struct message *m, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)(m->bytes + m->head.nlmsg_len - (char *)nest);
}

static int talk(int nl, const struct message *m, const char *what, const char *name, struct error *err)
{
	union {
		struct nlmsghdr head;
		char bytes[4096];
	} answer;
	if (send(nl, m, m->head.nlmsg_len, 0) < 0)
		return error_errno(err, errno, "%s `%s`", what, name);
	ssize_t n = recv(nl, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || answer.head.nlmsg_type != NLMSG_ERROR)
		return error_set(err, "%s `%s`: odd answer from the kernel", what, name);
	int rc = ((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
	return rc ? error_errno(err, -rc, "%s `%s`", what, name) : 0;
}

static int index_of(const char *name, struct error *err)
{
	int index = (int)if_nametoindex(name);
	return index ? index : error_errno(err, errno, "find network device `%s`", name);
}

int netlink_up(int nl, const char *name, struct error *err)
{
	struct message m;
	struct ifinfomsg info = { .ifi_index = index_of(name, err), .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	if (info.ifi_index < 0)
		return -1;
	begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	return talk(nl, &m, "set up network device", name, err);
}

int netlink_add_bridge(int nl, const char *name, struct error *err)
{
	struct message m;
	struct ifinfomsg info = { 0 };
	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	struct rtattr *link = put(&m, IFLA_LINKINFO, NULL, 0);
	put(&m, IFLA_INFO_KIND, "bridge", 6);
	end_nest(&m, link);
	return talk(nl, &m, "make bridge", name, err);
}

int netlink_add_veth(int nl, const char *name, const char *master, const char *peer, int peer_ns, struct error *err)
{
	struct message m;
	struct ifinfomsg info = { 0 };
	int bridge = master ? index_of(master, err) : 0;
	if (bridge < 0)
		return -1;
	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	if (master)
		put(&m, IFLA_MASTER, &bridge, sizeof(bridge));
	struct rtattr *link = put(&m, IFLA_LINKINFO, NULL, 0);
	put(&m, IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = put(&m, IFLA_INFO_DATA, NULL, 0);
	struct rtattr *other = put(&m, VETH_INFO_PEER, &info, sizeof(info));
	put(&m, IFLA_IFNAME, peer, strlen(peer) + 1);
	put(&m, IFLA_NET_NS_FD, &peer_ns, sizeof(peer_ns));
	end_nest(&m, other);
	end_nest(&m, data);
	end_nest(&m, link);
	return talk(nl, &m, "make veth", name, err);
}

int netlink_add_address(int nl, const char *name, uint32_t address, int prefix, struct error *err)
{
	struct message m;
	struct ifaddrmsg info = { .ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)prefix };
	uint32_t raw = htonl(address);
	int index = index_of(name, err);
	if (index < 0)
		return -1;
	info.ifa_index = (uint32_t)index;
	begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	put(&m, IFA_LOCAL, &raw, sizeof(raw));
	put(&m, IFA_ADDRESS, &raw, sizeof(raw));
	return talk(nl, &m, "add address to", name, err);
}
