namespace BuildRunner.Server.Runbooks;

/// <summary>Every action of every room of this server, by name.</summary>
internal sealed class ActionRegistry
{
    private readonly Dictionary<string, IAction> _actions = new(StringComparer.Ordinal);

    public ActionRegistry(IEnumerable<IAction> actions)
    {
        foreach (var action in actions)
        {
            if (!_actions.TryAdd(action.Name, action))
                throw new InvalidOperationException($"Two rooms register the action '{action.Name}': {_actions[action.Name].GetType().Name} and {action.GetType().Name}.");
        }
    }

    public IReadOnlyCollection<string> Names => _actions.Keys;

    public bool Knows(string name) => _actions.ContainsKey(name);

    public IAction? Find(string name) => _actions.GetValueOrDefault(name);
}
