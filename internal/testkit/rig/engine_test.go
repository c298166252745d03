package rig

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestABridgeGetsANetworkThatNobodyHas(t *testing.T) {
	t.Parallel()
	address := func(s string) net.Addr {
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: network.Mask}
	}
	for name, test := range map[string]struct {
		taken []net.Addr
		want  string
	}{
		"nothing taken":                   {nil, "10.213.0.0/24"},
		"another rig's bridge":            {[]net.Addr{address("10.213.0.1/24")}, "10.213.1.0/24"},
		"a larger network over the first": {[]net.Addr{address("10.213.0.1/23"), address("fe80::1/64")}, "10.213.2.0/24"},
		"everything taken":                {[]net.Addr{address("10.0.0.1/8")}, netip.Prefix{}.String()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := freeNetwork(test.taken)
			if got.String() != test.want || (err != nil) != !got.IsValid() {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestKindsFollowDockerHost(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	if diff := cmp.Diff([]Kind{Debian, Modern}, Kinds(none)); diff != "" {
		t.Error(diff)
	}
	inCI := func(name string) string {
		return map[string]string{"DOCKER_HOST": "unix:///run/docker.sock", "CI": "true"}[name]
	}
	if diff := cmp.Diff([]Kind{Existing, Modern}, Kinds(inCI)); diff != "" {
		t.Error(diff)
	}
}
