namespace Shop;

/// <summary>Shop's tables. Names of products are made of words, the same on every machine, and all different.</summary>
internal static class SchemaSql
{
    public const string Tables =
        """
        CREATE TABLE products (
            id int PRIMARY KEY,
            name text NOT NULL,
            category text NOT NULL,
            price_cents int NOT NULL CHECK (price_cents > 0),
            stock int NOT NULL);
        CREATE TABLE orders (
            id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            product_id int NOT NULL REFERENCES products,
            quantity int NOT NULL CHECK (quantity BETWEEN 1 AND 100),
            customer text,
            status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'packed')),
            epoch bigint NOT NULL,
            transaction bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
            placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            packed_at timestamptz);
        CREATE UNIQUE INDEX orders_number ON orders (number);
        CREATE INDEX orders_customer ON orders (customer, number) WHERE customer IS NOT NULL;
        CREATE TABLE packing_queue (
            order_id uuid PRIMARY KEY REFERENCES orders,
            queued_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE INDEX packing_queue_at ON packing_queue (queued_at);

        """;

    public const string Products =
        """
        INSERT INTO products (id, name, category, price_cents, stock)
        SELECT n, material || ' ' || thing || ' ' || collection || CASE WHEN edition > 1 THEN ' No. ' || edition ELSE '' END,
               (ARRAY['Kitchen', 'Living', 'Office', 'Garden', 'Bedroom', 'Hall'])[1 + length(thing) % 6],
               490 + (n * 7919) % 24000, n * 37 % 250
        FROM (SELECT n, 1 + (n - 1) / 10500 AS edition,
               (ARRAY['Alder', 'Amber', 'Ash', 'Birch', 'Brass', 'Cedar', 'Cherry', 'Clay', 'Copper', 'Cotton', 'Elm', 'Felt', 'Glass', 'Hazel', 'Iron',
                      'Linen', 'Maple', 'Oak', 'Olive', 'Pine', 'Slate', 'Steel', 'Walnut', 'Willow', 'Wool'])[1 + (n - 1) % 25] AS material,
               (ARRAY['bench', 'blanket', 'bookend', 'bowl', 'candle holder', 'carafe', 'chair', 'clock', 'coat rack', 'cutting board', 'desk', 'frame',
                      'jar', 'kettle', 'lamp', 'mirror', 'mug', 'notebook', 'pan', 'planter', 'plate', 'rug', 'shelf', 'stool', 'table', 'teapot', 'tray',
                      'vase', 'wall hook', 'watering can'])[1 + (n - 1) / 25 % 30] AS thing,
               (ARRAY['Aalto', 'Bergen', 'Calder', 'Dover', 'Esker', 'Fjord', 'Gable', 'Harbour', 'Inlet', 'Juniper', 'Kestrel', 'Lagoon', 'Mistral',
                      'Nordic'])[1 + (n - 1) / 750 % 14] AS collection
              FROM generate_series(1, 100000) n) words;
        CREATE INDEX products_name ON products (lower(name) text_pattern_ops);

        """;

    public const string Trigrams =
        """
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX products_words ON products USING gin (name gin_trgm_ops);

        """;

    /// <summary>Last: whoever sees it sees all of it.</summary>
    public const string Done =
        """
        ANALYZE products;
        CREATE TABLE shop_schema (version int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
        INSERT INTO shop_schema (version) VALUES (1);
        """;
}
