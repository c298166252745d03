package task

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/docker"
	"contenttrust/internal/pipeline"
)

// The keys and their order are those that Docker@2 gives to docker build (common-npm-packages, docker-common).
func TestLabelsAreThoseOfDocker2InItsOrder(t *testing.T) {
	t.Parallel()
	build := pipeline.Agent{
		CollectionURI: "https://dev.azure.com/fabrikam/", TeamProject: "Content Trust", HostType: "build",
		Build: pipeline.Build{
			RepositoryName: "app", RepositoryURI: "https://dev.azure.com/fabrikam/_git/app", SourceVersion: "5dcab1e2",
			SourceBranchName: "main", DefinitionName: "ci", Number: "20261122.1", URI: "vstfs:///Build/Build/17",
		},
	}
	release := build
	release.HostType = "release"
	release.Release = pipeline.Release{ID: "3", DefinitionName: "ship", WebURL: "https://dev.azure.com/fabrikam/_release?releaseId=3"}
	const prefix = "com.azure.dev.image."
	for _, c := range []struct {
		name  string
		agent pipeline.Agent
		data  bool
		want  []docker.Label
	}{
		{"a build", build, true, []docker.Label{
			{Name: prefix + "system.teamfoundationcollectionuri", Value: "https://dev.azure.com/fabrikam/"},
			{Name: prefix + "system.teamproject", Value: "Content Trust"},
			{Name: prefix + "build.repository.name", Value: "app"},
			{Name: prefix + "build.sourceversion", Value: "5dcab1e2"},
			{Name: prefix + "build.repository.uri", Value: "https://dev.azure.com/fabrikam/_git/app"},
			{Name: prefix + "build.sourcebranchname", Value: "main"},
			{Name: prefix + "build.definitionname", Value: "ci"},
			{Name: prefix + "build.buildnumber", Value: "20261122.1"},
			{Name: prefix + "build.builduri", Value: "vstfs:///Build/Build/17"},
		}},
		{"a build without pipeline data", build, false, []docker.Label{
			{Name: prefix + "system.teamfoundationcollectionuri", Value: "https://dev.azure.com/fabrikam/"},
			{Name: prefix + "build.sourceversion", Value: "5dcab1e2"},
		}},
		{"a release", release, true, []docker.Label{
			{Name: prefix + "system.teamfoundationcollectionuri", Value: "https://dev.azure.com/fabrikam/"},
			{Name: prefix + "system.teamproject", Value: "Content Trust"},
			{Name: prefix + "build.repository.name", Value: "app"},
			{Name: prefix + "release.releaseid", Value: "3"},
			{Name: prefix + "release.definitionname", Value: "ship"},
			{Name: prefix + "release.releaseweburl", Value: "https://dev.azure.com/fabrikam/_release?releaseId=3"},
		}},
		{"a release without pipeline data", release, false, []docker.Label{
			{Name: prefix + "system.teamfoundationcollectionuri", Value: "https://dev.azure.com/fabrikam/"},
			{Name: prefix + "release.releaseid", Value: "3"},
		}},
		{"what has no value", pipeline.Agent{CollectionURI: "https://fabrikam.visualstudio.com/", HostType: "build"}, true, []docker.Label{
			{Name: "com.visualstudio.fabrikam.image.system.teamfoundationcollectionuri", Value: "https://fabrikam.visualstudio.com/"},
		}},
		{"a server with a port", pipeline.Agent{CollectionURI: "https://tfs.example.com:8443/tfs/Default/"}, false, []docker.Label{
			{Name: "com.example.tfs.image.system.teamfoundationcollectionuri", Value: "https://tfs.example.com:8443/tfs/Default/"},
		}},
		{"nothing", pipeline.Agent{}, true, nil},
	} {
		if diff := cmp.Diff(c.want, labels(c.agent, c.data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got := labelPrefix(""); got != "image." {
		t.Errorf("without a collection the prefix is %q", got)
	}
}
