using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Databases;

public class SqlTextTests
{
    [Theory]
    [InlineData("select 1", true)]
    [InlineData("select 1;", true)]
    [InlineData("select 1; -- done", true)]
    [InlineData("select 1; /* a /* b */ c */ ", true)]
    [InlineData("select ';', \";\", $$;$$, $t$ ; $$ ; $t$, E'\\';', 'it''s; so' where a = $1", true)]
    [InlineData("update t set a = $1 where b = $2 -- ; delete from t", true)]
    [InlineData("select 1; select 2", false)]
    [InlineData("commit; delete from t", false)]
    [InlineData("select 'a'; select 'b'", false)]
    [InlineData("select $1; $2", false)]
    [InlineData("select 1;;", false)]
    [InlineData("select $$a$$; drop table t", false)]
    [InlineData("", true)]
    public void IsOne_SeesSemicolonsOutsideOfQuotes(string text, bool one) => Assert.Equal(one, SqlText.IsOne(text));
}
