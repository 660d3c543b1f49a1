using Mono.Cecil;
using Mono.Cecil.Cil;

namespace BuildRunner.Tests.Architecture;

/// <summary>A use of one room by another, as found in IL.</summary>
internal sealed record RoomEdge(string From, string To, string Where, string What)
{
    public override string ToString() => $"{From} -> {To}: {Where} uses {What}";
}

/// <summary>Reads from an assembly's IL which room uses which. (A `const` leaves no trace there.)</summary>
internal static class RoomReader
{
    /// <summary>Uses that the map does not allow, and types that stand in no known room.</summary>
    public static IReadOnlyList<string> Violations(ModuleDefinition module, string layer, IReadOnlyDictionary<string, string[]> map)
    {
        var found = new List<string>();
        foreach (var type in module.Types.Where(t => t.Namespace.StartsWith(layer + ".", StringComparison.Ordinal) && !map.ContainsKey(RoomOf(t.Namespace, layer)!)))
            found.Add($"{type.FullName} stands in no room of the map");
        foreach (var edge in Edges(module, layer))
        {
            if (map.TryGetValue(edge.From, out var uses) && !Allowed(uses, edge))
                found.Add(edge.ToString());
        }
        return [.. found.Distinct()];
    }

    public static IEnumerable<RoomEdge> Edges(ModuleDefinition module, string layer)
    {
        foreach (var type in module.Types)
        {
            if (RoomOf(type.Namespace, layer) is not { } from)
                continue;
            foreach (var used in All(type).SelectMany(Uses).SelectMany(Parts))
            {
                var name = Outermost(used).Namespace;
                if (RoomOf(name, layer) is { } to && to != from)
                    yield return new(from, to, type.FullName, used.FullName);
            }
        }
    }

    private static bool Allowed(string[] uses, RoomEdge edge) => uses.Any(use => use == edge.To
        || (use.Contains('.', StringComparison.Ordinal) && edge.What.Contains($".{use}.", StringComparison.Ordinal)));

    /// <summary>`BuildRunner.Server.Storage.Sqlite` in layer `BuildRunner.Server` is room `Storage`.</summary>
    private static string? RoomOf(string? name, string layer) =>
        name is not null && name.StartsWith(layer + ".", StringComparison.Ordinal) ? name[(layer.Length + 1)..].Split('.')[0] : null;

    private static TypeReference Outermost(TypeReference type) => type.DeclaringType is { } outer ? Outermost(outer) : type;

    private static IEnumerable<TypeDefinition> All(TypeDefinition type) => type.NestedTypes.SelectMany(All).Prepend(type);

    private static IEnumerable<TypeReference?> Uses(TypeDefinition type)
    {
        yield return type.BaseType;
        foreach (var used in type.Interfaces.Select(i => i.InterfaceType)
                     .Concat(type.Fields.Select(f => f.FieldType))
                     .Concat(type.CustomAttributes.Select(a => a.AttributeType))
                     .Concat(type.GenericParameters.SelectMany(p => p.Constraints).Select(c => c.ConstraintType)))
            yield return used;
        foreach (var method in type.Methods)
        {
            foreach (var used in Signature(method))
                yield return used;
            if (!method.HasBody)
                continue;
            foreach (var variable in method.Body.Variables)
                yield return variable.VariableType;
            foreach (var handler in method.Body.ExceptionHandlers)
                yield return handler.CatchType;
            foreach (var used in method.Body.Instructions.SelectMany(Operand))
                yield return used;
        }
    }

    private static IEnumerable<TypeReference?> Operand(Instruction instruction) => instruction.Operand switch
    {
        TypeReference type => [type],
        FieldReference field => [field.DeclaringType, field.FieldType],
        GenericInstanceMethod method => [.. Signature(method), .. method.GenericArguments],
        MethodReference method => Signature(method),
        _ => [],
    };

    private static IEnumerable<TypeReference?> Signature(MethodReference method) =>
        [method.DeclaringType, method.ReturnType, .. method.Parameters.Select(p => p.ParameterType)];

    /// <summary>A type and what it is made of: `List&lt;A[]&gt;` is List, A[] and A.</summary>
    private static IEnumerable<TypeReference> Parts(TypeReference? type)
    {
        if (type is null or GenericParameter)
            yield break;
        if (type is GenericInstanceType generic)
        {
            foreach (var part in generic.GenericArguments.SelectMany(Parts))
                yield return part;
        }
        if (type is TypeSpecification specification)
        {
            foreach (var part in Parts(specification.ElementType))
                yield return part;
        }
        else
        {
            yield return type;
        }
    }
}
