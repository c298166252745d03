package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
)

const connectionID = "2f6d3a1c-8a0e-4f5b-9c3d-0123456789ab"

// endpoint gives the variables an agent makes of a connection.
func endpoint(scheme, kind string, parameters map[string]string) []string {
	auth, _ := json.Marshal(map[string]any{"parameters": parameters, "scheme": scheme})
	env := []string{
		"ENDPOINT_URL_" + connectionID + "=https://hub.docker.com/",
		"ENDPOINT_AUTH_" + connectionID + "=" + string(auth),
		"ENDPOINT_AUTH_SCHEME_" + connectionID + "=" + scheme,
		"ENDPOINT_DATA_" + connectionID + "_REGISTRYTYPE=" + kind,
	}
	for name, value := range parameters {
		env = append(env, "ENDPOINT_AUTH_PARAMETER_"+connectionID+"_"+strings.ToUpper(name)+"="+value)
	}
	return env
}

func TestLoginOfAConnection(t *testing.T) {
	t.Parallel()
	up := func(registry string) map[string]string {
		return map[string]string{"registry": registry, "username": "me", "password": "hunter22", "email": "me@x"}
	}
	sp := func(server string) map[string]string {
		return map[string]string{"loginServer": server, "serviceprincipalid": "app-id", "serviceprincipalkey": "hunter22", "tenantid": "t"}
	}
	wif := map[string]string{"loginServer": "x.azurecr.io", "serviceprincipalid": "app-id"}
	cert := sp("x.azurecr.io")
	cert["authenticationType"] = "spnCertificate"
	key := sp("x.azurecr.io")
	key["authenticationType"] = "spnKey"
	me := func(registry string) Login {
		return Login{Registry: registry, Username: "me", Password: secret.New("hunter22")}
	}
	app := func(registry string) Login {
		return Login{Registry: registry, Username: "app-id", Password: secret.New("hunter22")}
	}
	without := func(m map[string]string, name string) map[string]string {
		delete(m, name)
		return m
	}
	for name, tt := range map[string]struct {
		scheme, kind string
		parameters   map[string]string
		want         Login
		err          ConnectionError
	}{
		"docker hub":                 {"UsernamePassword", "DockerHub", up("https://index.docker.io/v1/"), me("index.docker.io"), ConnectionError{}},
		"docker hub by default":      {"UsernamePassword", "DockerHub", up(""), me("index.docker.io"), ConnectionError{}},
		"docker hub by another name": {"UsernamePassword", "Others", up("docker.io"), me("index.docker.io"), ConnectionError{}},
		"another registry":           {"usernamepassword", "Others", up("https://Registry.Contoso.com:5000/"), me("registry.contoso.com:5000"), ConnectionError{}},
		"another, without scheme":    {"UsernamePassword", "Others", up("localhost:5000"), me("localhost:5000"), ConnectionError{}},
		"an address of IPv6":         {"UsernamePassword", "Others", up("https://[::1]:5000"), me("[::1]:5000"), ConnectionError{}},
		"azure, user of the others":  {"UsernamePassword", "Others", up("contoso.azurecr.io"), me("contoso.azurecr.io"), ConnectionError{}},
		"azure":                      {"ServicePrincipal", "ACR", sp("Contoso.azurecr.io"), app("contoso.azurecr.io"), ConnectionError{}},
		"azure, key told":            {"ServicePrincipal", "ACR", key, app("x.azurecr.io"), ConnectionError{}},
		"azure, with scheme":         {"ServicePrincipal", "acr", sp("https://contoso-ab12.azurecr.us/"), app("contoso-ab12.azurecr.us"), ConnectionError{}},
		"azure, elsewhere":           {"ServicePrincipal", "ACR", sp("evil.example"), Login{}, ConnectionError{Kind: ConnectionRegistryNotAzure, Registry: "evil.example"}},
		"azure, looks like it":       {"ServicePrincipal", "ACR", sp("x.azurecr.io.evil.example"), Login{}, ConnectionError{Kind: ConnectionRegistryNotAzure, Registry: "x.azurecr.io.evil.example"}},
		"azure, suffix alone":        {"ServicePrincipal", "ACR", sp(".azurecr.io"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: ".azurecr.io"}},
		"azure, name without dot":    {"ServicePrincipal", "ACR", sp("evilazurecr.io"), Login{}, ConnectionError{Kind: ConnectionRegistryNotAzure, Registry: "evilazurecr.io"}},
		"azure, other port":          {"ServicePrincipal", "ACR", sp("x.azurecr.io:8443"), Login{}, ConnectionError{Kind: ConnectionRegistryNotAzure, Registry: "x.azurecr.io:8443"}},
		"azure, user info trick":     {"ServicePrincipal", "ACR", sp("https://u:hunter22@x.azurecr.io"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: "x.azurecr.io"}},
		"azure, path trick":          {"ServicePrincipal", "ACR", sp("evil.example/.azurecr.io"), Login{}, ConnectionError{Kind: ConnectionRegistryNotAzure, Registry: "evil.example"}},
		"azure, backslash trick":     {"ServicePrincipal", "ACR", sp(`evil.example\.azurecr.io`), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: `evil.example\.azurecr.io`}},
		"azure, query trick":         {"ServicePrincipal", "ACR", sp("evil.example?x.azurecr.io"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: "evil.example?x.azurecr.io"}},
		"azure by federation":        {"WorkloadIdentityFederation", "ACR", wif, Login{}, ConnectionError{Kind: ConnectionSchemeNotYet, Scheme: "WorkloadIdentityFederation"}},
		"azure by managed identity":  {"ManagedServiceIdentity", "ACR", wif, Login{}, ConnectionError{Kind: ConnectionSchemeNotYet, Scheme: "ManagedServiceIdentity"}},
		"azure by certificate":       {"ServicePrincipal", "ACR", cert, Login{}, ConnectionError{Kind: ConnectionSchemeNotYet, Scheme: "spnCertificate"}},
		"no scheme":                  {"", "Others", up("x.example"), Login{}, ConnectionError{Kind: ConnectionIncomplete, Parameter: "scheme"}},
		"no user":                    {"UsernamePassword", "Others", without(up("x.example"), "username"), Login{}, ConnectionError{Kind: ConnectionIncomplete, Parameter: "username"}},
		"no password":                {"UsernamePassword", "Others", without(up("x.example"), "password"), Login{}, ConnectionError{Kind: ConnectionIncomplete, Parameter: "password"}},
		"no key":                     {"ServicePrincipal", "ACR", wif, Login{}, ConnectionError{Kind: ConnectionIncomplete, Parameter: "serviceprincipalkey"}},
		"no registry":                {"UsernamePassword", "Others", up(""), Login{}, ConnectionError{Kind: ConnectionIncomplete, Parameter: "registry"}},
		"a registry by ftp":          {"UsernamePassword", "Others", up("ftp://x.example"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: "ftp://x.example"}},
		"a registry with a bad port": {"UsernamePassword", "Others", up("x.example:99999"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: "x.example:99999"}},
		"a registry with a command":  {"UsernamePassword", "Others", up("##vso[task.debug]"), Login{}, ConnectionError{Kind: ConnectionRegistryInvalid, Registry: "##_vso[task.debug]"}},
	} {
		env := NewEnvironment(endpoint(tt.scheme, tt.kind, tt.parameters))
		c, err := ReadConnection(env, connectionID)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := c.Login()
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		var failure *ConnectionError
		switch {
		case tt.err.Kind == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.err.Kind != "":
			tt.err.ID = connectionID
			if !errors.As(err, &failure) || *failure != tt.err {
				t.Errorf("%s: got %+v, want %+v", name, failure, tt.err)
			} else if strings.Contains(err.Error(), "hunter22") || !strings.Contains(err.Error(), string(tt.err.Kind)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if text := fmt.Sprintf("%v %+v %#v", c, c, got); strings.Contains(text, "hunter22") {
			t.Errorf("%s: the password is printed: %s", name, text)
		}
	}
}

func TestAnAzureConnectionWithoutALoginServerHasItsAddress(t *testing.T) {
	t.Parallel()
	env := endpoint("ServicePrincipal", "ACR", map[string]string{"serviceprincipalid": "a", "serviceprincipalkey": "k"})
	env[0] = "ENDPOINT_URL_" + connectionID + "=https://Contoso.azurecr.io"
	c, err := ReadConnection(NewEnvironment(env), connectionID)
	if err != nil {
		t.Fatal(err)
	}
	if login, err := c.Login(); err != nil || login.Registry != "contoso.azurecr.io" {
		t.Errorf("got %+v, %v", login, err)
	}
}

func TestAConnectionIsFoundInEitherCaseAndInEitherForm(t *testing.T) {
	t.Parallel()
	full := endpoint("UsernamePassword", "Others", map[string]string{"registry": "r.example", "username": "me", "password": "hunter22", "apitoken": "tok-en"})
	jsonOnly := full[1:2]
	jsonOnly = append(jsonOnly, "ENDPOINT_DATA_"+connectionID+`={"registrytype":"Others"}`)
	for name, env := range map[string][]string{"all variables": full, "JSON alone": jsonOnly} {
		for _, id := range []string{connectionID, strings.ToUpper(connectionID), " " + connectionID + "\n"} {
			c, err := ReadConnection(NewEnvironment(env), id)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if c.Scheme != "UsernamePassword" || c.RegistryType != "Others" || c.Parameter("PassWord").Reveal() != "hunter22" {
				t.Errorf("%s: %+v", name, c)
			}
			if got := c.Secrets(); len(got) != 2 || got[0].Reveal() != "tok-en" || got[1].Reveal() != "hunter22" {
				t.Errorf("%s: %d secrets", name, len(got))
			}
			if !c.Parameter("none").Empty() || c.Data("none") != "" {
				t.Errorf("%s: an absent parameter is there", name)
			}
		}
	}
}

func TestAConnectionThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id   string
		env  []string
		want ConnectionError
	}{
		{" ", nil, ConnectionError{Kind: ConnectionNotNamed}},
		{"my connection", nil, ConnectionError{ID: "my connection", Kind: ConnectionAbsent}},
		{"x", []string{`ENDPOINT_AUTH_x={"parameters":{"password":"hunter22"`}, ConnectionError{ID: "x", Kind: ConnectionMalformed, Parameter: "ENDPOINT_AUTH"}},
	} {
		_, err := ReadConnection(NewEnvironment(tt.env), tt.id)
		var failure *ConnectionError
		if !errors.As(err, &failure) || *failure != tt.want || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%q: got %v", tt.id, err)
		}
	}
}
