// The workspaces and projects that the key reaches, with their names.
import { get } from "./api.js";
import { who } from "./session.js";

const SIZE = 100;
const MOST = 10; // pages: a thousand of each are enough to choose from

/** All records of a list, as far as `MOST` pages go. */
export async function all(path, signal, query = {}) {
  const found = [];
  for (let page = 1; page <= MOST; page += 1) {
    const answer = await get(path, { query: { ...query, page, page_size: SIZE }, signal });
    found.push(...answer.data);
    const total = answer.page?.total ?? answer.total ?? found.length;
    if (answer.data.length < SIZE || found.length >= total) break;
  }
  return found;
}

/** Workspaces and projects: lists, names by id, scopes of keys in words and as choices. */
export async function everything(signal) {
  const { workspace, project } = who();
  const wide = project === null; // a project's key may not list workspaces
  const [workspaces, projects] = await Promise.all([wide ? all("/api/v1/workspaces", signal) : [], all("/api/v1/projects", signal)]);
  const names = new Map([workspace, ...workspaces, ...projects].filter((place) => place !== null).map((place) => [place.id, place.name]));
  const words = (scope) => {
    const [kind, id] = scope.split(":");
    return id === undefined ? (kind === "tenant" ? "Whole organization" : kind) : `${kind === "workspace" ? "Workspace" : "Project"} ${names.get(id) ?? id}`;
  };
  const scopes = ["tenant", ...workspaces.map(({ id }) => `workspace:${id}`), ...projects.map(({ id }) => `project:${id}`)];
  return { workspaces, projects, names, scope: words, scopes: scopes.map((scope) => [scope, words(scope)]) };
}
