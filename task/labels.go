package task

import (
	"net/url"
	"slices"
	"strings"

	"contenttrust/internal/docker"
	"contenttrust/internal/pipeline"
)

// labels are the labels that Docker@2 puts on an image, in its order: where the image was built, from which commit, and
// with pipelineData by which run. The key's prefix is the host of the organisation, reversed, so dev.azure.com gives
// com.azure.dev.image.
//
// Source: common-npm-packages/docker-common, imageutils and pipelineutils.
func labels(agent pipeline.Agent, pipelineData bool) []docker.Label {
	prefix := labelPrefix(agent.CollectionURI)
	var all []docker.Label
	add := func(always bool, key, value string) {
		if value != "" && (always || pipelineData) {
			all = append(all, docker.Label{Name: prefix + key, Value: value})
		}
	}
	add(true, "system.teamfoundationcollectionuri", agent.CollectionURI)
	add(false, "system.teamproject", agent.TeamProject)
	add(false, "build.repository.name", agent.Build.RepositoryName)
	if agent.HostType == "release" {
		add(true, "release.releaseid", agent.Release.ID)
		add(false, "release.definitionname", agent.Release.DefinitionName)
		add(false, "release.releaseweburl", agent.Release.WebURL)
		return all
	}
	add(true, "build.sourceversion", agent.Build.SourceVersion)
	add(false, "build.repository.uri", agent.Build.RepositoryURI)
	add(false, "build.sourcebranchname", agent.Build.SourceBranchName)
	add(false, "build.definitionname", agent.Build.DefinitionName)
	add(false, "build.buildnumber", agent.Build.Number)
	add(false, "build.builduri", agent.Build.URI)
	return all
}

func labelPrefix(collection string) string {
	host := ""
	if u, err := url.Parse(collection); err == nil {
		host = u.Hostname()
	}
	parts := strings.Split(host, ".")
	slices.Reverse(parts)
	return strings.TrimPrefix(strings.Join(parts, ".")+".", ".") + "image."
}
