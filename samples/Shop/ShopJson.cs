using System.Text.Json;
using System.Text.Json.Serialization;

namespace Shop;

internal sealed record Product(int Id, string Name, string Category, int PriceCents, int Stock);

internal sealed record ProductDetail(int Id, string Name, string Category, int PriceCents, int Stock, string Description);

internal sealed record ProductPage(string? Query, int Page, bool More, IReadOnlyList<Product> Products);

/// <summary>Nullable where the caller may have left it out.</summary>
internal sealed record OrderBody(Guid? Id, int? ProductId, int? Quantity);

internal sealed record Order(Guid Id, int ProductId, int Quantity, string Status, DateTimeOffset PlacedAt, DateTimeOffset? PackedAt, long Epoch);

internal sealed record OrderLine(Guid Id, long Number, long Epoch);

/// <summary>Next: what to ask for after this page; null when this is the last.</summary>
internal sealed record OrderPage(IReadOnlyList<OrderLine> Orders, long? Next);

internal sealed record Account(string User, string Region, IReadOnlyList<Order> Orders);

internal sealed record CategorySales(string Category, long Orders, long Units, long RevenueCents, double Share, double MedianPriceCents, int BestProductId, string BestProduct);

internal sealed record SalesReport(DateTimeOffset At, long Orders, long RevenueCents, long Packed, IReadOnlyList<CategorySales> Categories);

/// <summary>Null: unknown.</summary>
internal sealed record QueueReading(long? QueueDepth);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(ProductDetail))]
[JsonSerializable(typeof(ProductPage))]
[JsonSerializable(typeof(OrderBody))]
[JsonSerializable(typeof(Order))]
[JsonSerializable(typeof(OrderPage))]
[JsonSerializable(typeof(Account))]
[JsonSerializable(typeof(SalesReport))]
internal sealed partial class ShopJson : JsonSerializerContext;

/// <summary>Metrics are read by BuildRunner, whose words are in snake case.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(QueueReading))]
internal sealed partial class MetricsJson : JsonSerializerContext;
