using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Routing;

namespace BuildRunner.Client;

/// <summary>The lines between the server and its nodes, and the files that nodes keep: snake case, nulls written (null means unknown).</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(NodePoll))]
[JsonSerializable(typeof(NodePollAnswer))]
[JsonSerializable(typeof(OrderResult))]
[JsonSerializable(typeof(Assignment))]
[JsonSerializable(typeof(AgentReport))]
[JsonSerializable(typeof(AddressFile))]
[JsonSerializable(typeof(DatabaseReading))]
[JsonSerializable(typeof(Hosting.ExecOrder))]
[JsonSerializable(typeof(Hosting.ExecResult))]
[JsonSerializable(typeof(EpochRecord))]
[JsonSerializable(typeof(FenceProof))]
[JsonSerializable(typeof(LeaseAsk))]
[JsonSerializable(typeof(LeaseAnswer))]
[JsonSerializable(typeof(LeaseRecord))]
[JsonSerializable(typeof(PromiseAsk))]
[JsonSerializable(typeof(PromiseAnswer))]
[JsonSerializable(typeof(PeerHello))]
[JsonSerializable(typeof(PeerQuestion))]
[JsonSerializable(typeof(PeerReply))]
[JsonSerializable(typeof(SummonAsk))]
[JsonSerializable(typeof(SummonAnswer))]
[JsonSerializable(typeof(SavedState))]
[JsonSerializable(typeof(SqlOrder))]
[JsonSerializable(typeof(SqlResult))]
[JsonSerializable(typeof(RefuseOrder))]
[JsonSerializable(typeof(RefuseResult))]
[JsonSerializable(typeof(FaultOrder))]
[JsonSerializable(typeof(FaultResult))]
[JsonSerializable(typeof(AdoptOrder))]
[JsonSerializable(typeof(AdoptSurvey))]
[JsonSerializable(typeof(AdoptResult))]
[JsonSerializable(typeof(FenceOrder))]
[JsonSerializable(typeof(FenceResult))]
[JsonSerializable(typeof(CutOrder))]
[JsonSerializable(typeof(CatchUpOrder))]
[JsonSerializable(typeof(CutResult))]
[JsonSerializable(typeof(PromoteOrder))]
[JsonSerializable(typeof(SwitchOrder))]
[JsonSerializable(typeof(InspectResult))]
[JsonSerializable(typeof(PrepareResult))]
[JsonSerializable(typeof(SealResult))]
[JsonSerializable(typeof(ReachOrder))]
[JsonSerializable(typeof(ReachResult))]
[JsonSerializable(typeof(PromoteResult))]
[JsonSerializable(typeof(RoutingTable))]
[JsonSerializable(typeof(GatewayDocument))]
[JsonSerializable(typeof(GatewayReport))]
[JsonSerializable(typeof(ProbeOrder))]
[JsonSerializable(typeof(ProbeResult))]
[JsonSerializable(typeof(ProbeTarget))]
public sealed partial class WireJson : JsonSerializerContext;
